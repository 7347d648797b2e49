//! Zip archives: what is in them, who reads them, and what ends them.

use crate::random::bytes;
use crate::sharing::Room;
use diesel_async::SimpleAsyncConnection;
use reqwest::{Client as Http, Method, Response};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use uuid::Uuid;
use waybill_event_log::read_events;
use waybill_integration_tests::{Client, Cluster, Counts, Options, Shape, Stack};
use waybill_object_store::ObjectStore;
use waybill_schema::events::FileEvent;
use waybill_schema::{Entity, Event, Subject, UploadId, names};
use waybill_test_kit::{eventually, eventually_within, settings};

const PATIENCE: Duration = Duration::from_secs(120);

/// Names in ten scripts, some of them in combining characters, and names that some systems cannot have.
const NAMES: [&str; 14] = [
    "plain.txt",
    "Zürich.txt",
    "Ελλάδα.txt",
    "Москва.txt",
    "עברית.txt",
    "العربية.txt",
    "हिन्दी.txt",
    "ไทย.txt",
    "한국어.txt",
    "日本語 文書.txt",
    "中文.txt",
    "e\u{301}te\u{301}.txt",
    "con.txt",
    "what?.txt",
];

/// Prints the names, lengths and checksums of the files of an archive as JSON, after it has read all of them.
const PYTHON: &str = "import json, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
print(json.dumps([[i.filename, i.file_size, i.CRC, archive.read(i)[:20].hex(), i.date_time[0]] for i in archive.infolist()]))";

struct Made {
    url: String,
    body: Value,
}

impl Made {
    fn size(&self) -> u64 {
        self.body["size_bytes"].as_u64().unwrap()
    }
}

async fn make(client: &Client, body: Value) -> Made {
    let made = client.post("/v1/archives", &body).await.expect(201);
    Made { url: format!("{}{}", client.url(), made.text("url")), body: made.body }
}

async fn read(method: Method, url: &str, headers: &[(&str, &str)]) -> Response {
    let request = Http::new().request(method, url);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

async fn whole(url: &str) -> Vec<u8> {
    let answer = read(Method::GET, url, &[]).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

async fn post(client: &Client, name: &str, content: Vec<u8>) -> String {
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    let posted = client.post_file(&format!("name={name}"), content).await.expect(201);
    client.get_after("/v1/quota", &posted).await.expect(200);
    posted.text("file_id")
}

/// Uploads a file in chunks.
async fn in_chunks(client: &Client, name: &str, content: &[u8]) -> String {
    let start = client.start_with(content.len() as u64, json!({ "name": name })).await.expect(201);
    let (upload, size) =
        (start.text("upload_id"), usize::try_from(start.body["part_size_bytes"].as_u64().unwrap()).unwrap());
    for (index, chunk) in content.chunks(size).enumerate() {
        client.put_chunk(&upload, index, chunk.to_vec()).await.expect(200);
    }
    client.complete(&upload, &json!({})).await;
    client.file_with_status(&upload, "COMPLETED").await;
    upload
}

/// Runs a program, and checks that it succeeds.
fn run(program: &str, arguments: &[&str], archive: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(archive).env("LC_ALL", "C.UTF-8").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Returns the names, lengths, checksums, first bytes and years of the files of an archive.
fn python(archive: &Path) -> Vec<(String, u64, u64, String, u64)> {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn saved(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("archive.zip");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_reads_files_of_all_lengths_and_names() {
    let stack = Stack::start().await;
    let client = stack.client();
    let large = bytes(1, 21 << 20);
    let mut ids = vec![in_chunks(&client, "large.bin", &large).await];
    let empty = post(&client, "empty.txt", Vec::new()).await;
    client.file_with_status(&empty, "COMPLETED").await;
    ids.push(empty);
    for (number, name) in NAMES.iter().chain(&NAMES[..2]).enumerate() {
        ids.push(post(&client, name, bytes(number as u64, 1 + 3_000 * number)).await);
    }
    let made = make(&client, json!({ "file_ids": ids, "name": "Zürich 2026" })).await;
    assert_eq!((&made.body["name"], &made.body["file_count"]), (&json!("Zürich 2026.zip"), &json!(ids.len())));
    let head = read(Method::HEAD, &made.url, &[]).await;
    let header = |name: &str| head.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("content-type"), header("content-length")), ("application/zip".into(), made.size().to_string()));
    assert!(header("content-disposition").ends_with("filename*=UTF-8''Z%C3%BCrich%202026.zip"));
    let archive = whole(&made.url).await;
    assert_eq!(archive.len() as u64, made.size());

    let folder = tempfile::tempdir().unwrap();
    let path = saved(&folder, &archive);
    run(&settings("WAYBILL_TEST_UNZIP"), &["-t", "-qq"], &path);
    run(&settings("WAYBILL_TEST_7Z"), &["t"], &path);
    let listed = run(&settings("WAYBILL_TEST_BSDTAR"), &["-tf"], &path);
    let found = python(&path);
    let expected = ["large.bin", "empty.txt"].into_iter().chain(NAMES).chain(["plain (2).txt", "Zürich (2).txt"]);
    let expected: Vec<&str> = expected
        .map(|name| match name {
            "con.txt" => "_con.txt",
            "what?.txt" => "what_.txt",
            name => name,
        })
        .collect();
    assert_eq!(found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), expected);
    // bsdtar shows names in composed characters.
    assert_eq!(listed.lines().count(), expected.len());
    assert!(expected[..13].iter().all(|name| listed.lines().any(|listed| listed == *name)), "{listed}");
    assert_eq!((found[0].1, found[1].1, found[2].1, found[3].1), (large.len() as u64, 0, 1, 3_001));
    assert!(found.iter().all(|(.., year)| *year >= 2026), "{found:?}");

    // Nobody knows the checksums of files of earlier versions. They are read once, and then recorded.
    let mut tables = stack.database("waybill").connection().await.unwrap();
    tables.batch_execute("UPDATE file SET crc32 = NULL").await.unwrap();
    let again = make(&client, json!({ "file_ids": ids, "name": "Zürich 2026" })).await;
    assert_eq!(python(&saved(&folder, &whole(&again.url).await)), found);
    let company = client.principal.company_id;
    let subject = Subject::new(company, Entity::File(UploadId(ids[0].parse().unwrap())));
    let recorded = read_events(stack.log(), subject, 0).await.unwrap();
    let Some(Event::File(FileEvent::FileChecksummed(checksummed))) = recorded.last().map(|last| &last.event) else {
        panic!("{recorded:?}")
    };
    assert_eq!(u64::from(checksummed.crc32), found[0].2);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_ranges_put_together_are_the_archive() {
    let stack = Stack::start().await;
    let client = stack.client();
    let mut ids = Vec::new();
    for number in 0..12_u64 {
        let length = usize::try_from(number * number * number * 400).unwrap();
        ids.push(post(&client, &format!("{number}.bin"), bytes(number, length)).await);
    }
    let made = make(&client, json!({ "file_ids": ids })).await;
    let archive = whole(&made.url).await;
    let etag = read(Method::HEAD, &made.url, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
    for seed in 0..12_u64 {
        let cuts: Vec<u64> =
            bytes(100 + seed, 8 * 6).chunks(8).map(|cut| u64::from_le_bytes(cut.try_into().unwrap())).collect();
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut % made.size()).chain([0, made.size()]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut together = Vec::new();
        for pair in cuts.windows(2) {
            let range = format!("bytes={}-{}", pair[0], pair[1] - 1);
            let part = read(Method::GET, &made.url, &[("range", &range), ("if-range", &etag)]).await;
            assert_eq!(part.status(), 206, "{range}");
            let content_range = format!("bytes {}-{}/{}", pair[0], pair[1] - 1, made.size());
            assert_eq!(part.headers()["content-range"].to_str().unwrap(), content_range);
            together.extend(part.bytes().await.unwrap());
        }
        assert!(together == archive, "{cuts:?}");
    }
    let last = read(Method::GET, &made.url, &[("range", "bytes=-22")]).await;
    assert_eq!(last.bytes().await.unwrap(), archive[archive.len() - 22..]);
    assert_eq!(read(Method::GET, &made.url, &[("if-none-match", &etag)]).await.status(), 304);
    assert_eq!(read(Method::GET, &made.url, &[("if-match", "\"other\"")]).await.status(), 412);
    let after = format!("bytes={}-", made.size());
    assert_eq!(read(Method::GET, &made.url, &[("range", &after)]).await.status(), 416);
    let other = read(Method::GET, &made.url, &[("range", "bytes=0-3"), ("if-range", "\"other\"")]).await;
    assert_eq!(other.status(), 200);
    stack.finish().await;
}

async fn code(url: &str) -> (u16, String) {
    let answer = read(Method::GET, url, &[]).await;
    let status = answer.status().as_u16();
    let text = answer.bytes().await.unwrap();
    let code = serde_json::from_slice::<Value>(&text).ok().and_then(|body| Some(body["code"].as_str()?.to_owned()));
    (status, code.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_only_what_its_user_may_read_and_ends_with_that_right() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let (first, second) = (room.file("a.txt").await, room.file("b.txt").await);
    room.ben.get_after(&room.listing(), &second).await.expect(200);
    let (first, second) = (first.text("file_id"), second.text("file_id"));
    let own = post(&room.ben, "own.txt", b"mine".to_vec()).await;
    let hidden = post(&room.anna, "hidden.txt", b"secret".to_vec()).await;

    // A file of somebody else looks as if it did not exist, and the others are not given either.
    for file in [&hidden, &Uuid::now_v7().to_string()] {
        let refused = room.ben.post("/v1/archives", &json!({ "file_ids": [own, file] })).await;
        refused.refused(404, "not_found");
    }
    let of_room = make(&room.ben, json!({ "chatroom_id": room.chatroom })).await;
    assert_eq!((&of_room.body["file_count"], &of_room.body["left_out"]), (&json!(2), &json!([])));
    let mine = make(&room.ben, json!({ "file_ids": [own, own] })).await;
    assert_eq!(mine.body["file_count"], 1);
    room.carl.post("/v1/archives", &json!({ "chatroom_id": room.chatroom })).await.refused(404, "not_found");
    assert_eq!((code(&of_room.url).await.0, code(&mine.url).await.0), (200, 200));

    // Only the user who made an archive can have it without its URL, and guesses find nothing.
    let (base, token) = of_room.url.rsplit_once('/').unwrap();
    let guesses = [format!("{}AA", &token[..token.len() - 2]), token[4..].to_owned(), "x".to_owned()];
    for guess in guesses.iter().filter(|guess| *guess != token) {
        assert_eq!(code(&format!("{base}/{guess}")).await, (404, "not_found".to_owned()), "{guess}");
    }

    let associations = room.anna.get(&format!("/v1/files/{first}/associations")).await.expect(200);
    let share = associations.body["items"][0]["id"].as_str().unwrap().to_owned();
    room.anna.delete(&format!("/v1/associations/{share}")).await.expect(204);
    eventually("the archive to end", || async { (code(&of_room.url).await.0 == 410).then_some(()) }).await;
    assert_eq!(code(&of_room.url).await, (410, "archive_stale".to_owned()));
    assert_eq!(read(Method::HEAD, &of_room.url, &[]).await.status(), 410);
    assert_eq!(code(&mine.url).await.0, 200);

    // The others remain.
    let of_room = make(&room.ben, json!({ "chatroom_id": room.chatroom })).await;
    assert_eq!(of_room.body["file_count"], 1);
    room.anna.delete(&format!("/v1/files/{second}")).await.expect(204);
    eventually("the archive to end", || async { (code(&of_room.url).await.0 == 410).then_some(()) }).await;
    room.ben.post("/v1/archives", &json!({ "chatroom_id": room.chatroom })).await.refused(422, "archive_empty");

    for (body, refusal) in [
        (json!({}), "archive_invalid"),
        (json!({ "file_ids": [own], "chatroom_id": room.chatroom }), "archive_invalid"),
        (json!({ "file_ids": [] }), "archive_empty"),
        (json!({ "file_ids": [own], "name": "../a" }), "name_invalid"),
    ] {
        room.ben.post("/v1/archives", &body).await.refused(422, refusal);
    }
    let many: Vec<Uuid> = (0..1_001).map(|_| Uuid::now_v7()).collect();
    room.ben.post("/v1/archives", &json!({ "file_ids": many })).await.refused(413, "archive_too_large");

    // The host product signs the user out.
    let path = room.path(&format!("/users/{}/sign-out", room.ben.principal.user_id));
    stack.host().post(&path, &json!({})).await.expect(204);
    eventually("the archive to end", || async { (code(&mine.url).await.0 == 410).then_some(()) }).await;
    stack.finish().await;
}

/// A client that reads slowly while its right ends gets a broken connection, not an archive that looks complete.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_breaks_off_if_a_right_ends_while_it_is_sent() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let large = bytes(7, 48 << 20);
    let query = format!("name=a.bin&chatroom_id={}", room.chatroom);
    let first = room.anna.post_file(&query, large.clone()).await;
    assert!([201, 202].contains(&first.status), "{first:?}");
    room.anna.file_with_status(&first.text("file_id"), "COMPLETED").await;
    // Small files around a large one are read before their turn.
    let (before, second) = (room.file("0.txt").await, room.file("b.txt").await);
    room.ben.get_after(&room.listing(), &second).await.expect(200);
    let ids = json!([before.text("file_id"), first.text("file_id"), second.text("file_id")]);
    let made = make(&room.ben, json!({ "file_ids": ids })).await;
    let mut answer = read(Method::GET, &made.url, &[]).await;
    let mut received = answer.chunk().await.unwrap().unwrap().len() as u64;
    room.anna.delete(&format!("/v1/files/{}", second.text("file_id"))).await.expect(204);
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => received += bytes.len() as u64,
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && received < made.size(), "{received} of {}", made.size());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_get_archives_without_the_metadata_of_pictures() {
    let args = vec!["--content-search-ms=200".to_owned()];
    let stack = Stack::with(Options { args, shape: Shape::Apart }).await;
    let room = Room::of(&stack).await;
    room.admin.put(&room.path(""), &json!({ "strip_location": "for_others" })).await.expect(200);
    let picture = crate::location::photo(1);
    let query = format!("name=a.jpg&mime_type=image/jpeg&chatroom_id={}", room.chatroom);
    let file = room.anna.post_file(&query, picture.clone()).await.expect(201).text("file_id");
    crate::location::looked_at(&room.ben, &file).await;
    let plain = room.ben.content(&file).await;
    assert!(plain.len() < picture.len());
    for (client, content) in [(&room.ben, &plain), (&room.ben, &plain), (&room.anna, &picture)] {
        let made = make(client, json!({ "chatroom_id": room.chatroom })).await;
        let archive = whole(&made.url).await;
        let folder = tempfile::tempdir().unwrap();
        let found = python(&saved(&folder, &archive));
        assert_eq!((found.len(), found[0].1), (1, content.len() as u64));
        assert!(archive.windows(content.len()).any(|window| window == &content[..]));
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_archives_are_deleted_and_sessions_have_archives() {
    let args = vec!["--worker-sweep-ms=200".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let posted = client.post_file(&format!("name=a.txt&session_id={session}"), "a").await.expect(201);
    client.get_after(&format!("/v1/sessions/{session}"), &posted).await.expect(200);
    let made = make(&client, json!({ "session_id": session })).await;
    assert_eq!(made.body["file_count"], 1);
    stack
        .client_for(client.principal.company_id, &[])
        .post("/v1/archives", &json!({ "session_id": session }))
        .await
        .refused(404, "not_found");

    let store = stack.store();
    let expired = names::archive_key(1_764_000_000, client.principal.company_id, Uuid::now_v7());
    store.put_locked(&expired, "{}".into(), None).await.unwrap();
    eventually_within(PATIENCE, "the expired archive to be deleted", || async {
        store.size(&expired).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(code(&made.url).await.0, 200);
    stack.finish().await;
}

/// curl continues an archive where it broke off (`-C -`).
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_while_it_sends_an_archive_and_curl_continues() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client().without_keep_alive();
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(in_chunks(&client, &format!("{number}.bin"), &bytes(number, 9 << 20)).await);
    }
    let made = make(&client, json!({ "file_ids": ids })).await;
    let expected = whole(&made.url).await;
    let output = cluster.folder().join("archive.zip");
    let curl = |more: &[&str]| {
        let mut command = tokio::process::Command::new(settings("WAYBILL_TEST_CURL"));
        command.args(["--silent", "--fail", "--noproxy", "*", "--output"]).arg(&output);
        command.args(more).arg(&made.url).kill_on_drop(true);
        command
    };
    let mut begun = curl(&["--limit-rate", "8M"]).spawn().unwrap();
    let length = || std::fs::metadata(&output).map_or(0, |file| file.len());
    eventually_within(PATIENCE, "curl to have a part", || async { (length() > 12 << 20).then_some(()) }).await;
    cluster.gateways[0].kill();
    assert!(!begun.wait().await.unwrap().success());
    assert!(length() < made.size());
    cluster.gateways[0].restart().await;
    assert!(curl(&["--continue-at", "-"]).status().await.unwrap().success());
    assert!(std::fs::read(&output).unwrap() == expected);
    cluster.finish().await;
}
