//! Virus scans with a real clamd: nobody reads a file that must be scanned first, or that is infected.

use crate::protocols::{PROTOCOLS, Sent, begin};
use crate::random::bytes;
use crate::sharing::Room;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use waybill_integration_tests::{Client, Options, Shape, Stack, servers_in};
use waybill_test_kit::{ClamdServer, MARKER, eicar, eventually, eventually_within};

/// Returns the options of a stack that has files scanned.
fn scanned_by(clamd: &ClamdServer, policy: &str) -> Options {
    let args = [
        format!("--clamd={}", clamd.address()),
        format!("--scan={policy}"),
        "--clamd-stream-max-bytes=1048576".to_owned(),
        "--clamd-timeout-s=5".to_owned(),
        "--content-search-ms=300".to_owned(),
    ];
    Options { args: args.to_vec(), ..Options::default() }
}

/// Waits until the file was scanned, and returns it.
async fn scanned(client: &Client, file: &str) -> Value {
    eventually_within(Duration::from_secs(60), &format!("file {file} to be scanned"), || async {
        let answer = client.get(&format!("/v1/files/{file}")).await;
        (!answer.body["scan"].is_null()).then_some(answer.body)
    })
    .await
}

/// Returns the verdict about a file after its scan.
async fn verdict(client: &Client, file: &str) -> String {
    scanned(client, file).await["scan"]["verdict"].as_str().unwrap().to_owned()
}

async fn post(client: &Client, content: impl Into<reqwest::Body>) -> String {
    let query = "name=a.bin&mime_type=application/octet-stream";
    client.post_file(query, content).await.expect(201).text("file_id")
}

/// Returns the CRC-32 of ZIP and PNG (APPNOTE 4.4.7, PNG D).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

/// Returns a ZIP archive with one stored file. `flags` is the general purpose bit flag (APPNOTE 4.4.4).
fn zip_of(content: &[u8], flags: u8) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let common =
        [&[20, 0, flags, 0, 0, 0, 0, 0, 0x21, 0x5a], &crc32(content).to_le_bytes()[..], &size, &size, &[5, 0, 0, 0]]
            .concat();
    let local = [b"PK\x03\x04".as_slice(), &common, b"a.com", content].concat();
    let central = [b"PK\x01\x02\x14\0".as_slice(), &common, &[0; 14], b"a.com"].concat();
    let at = u32::try_from(local.len()).unwrap().to_le_bytes();
    let length = u32::try_from(central.len()).unwrap().to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &length, &at, &[0, 0]].concat();
    [local, central, end].concat()
}

fn sent(content: Vec<u8>) -> Sent {
    let text = str::to_owned;
    let (kind, name, mime_type) = (text("test"), text("a.bin"), text("application/octet-stream"));
    Sent { kind, class: text(""), made_with: text(""), name, mime_type, by: text(""), content }
}

/// Asserts again and again that no route gives bytes of the file, until it was scanned.
async fn is_never_readable(client: &Client, file: &str) -> Value {
    eventually_within(Duration::from_secs(60), &format!("file {file} to be scanned"), || async {
        let content = client.get(&format!("/v1/files/{file}/content")).await;
        let code = content.body["code"].as_str().unwrap_or_default().to_owned();
        assert!(matches!(code.as_str(), "file_not_ready" | "file_infected" | "not_found"), "{content:?}");
        let tus = client.request(Method::GET, &format!("/tus/{file}")).send().await.unwrap();
        assert!(!matches!(tus.status().as_u16(), 200 | 206), "GET of the upload: {}", tus.status());
        let link = client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await;
        assert!(matches!(link.status, 403 | 404 | 409), "{link:?}");
        let shown = client.get(&format!("/v1/files/{file}")).await.body;
        assert!(shown["download_url"].is_null(), "{shown}");
        assert!(shown["processing_status"] != "COMPLETED", "{shown}");
        (!shown["scan"].is_null()).then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_prefers_to_wait_waits_for_the_verdict() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let client = stack.client();
    let content = bytes(9, 300_000);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content.clone()).await.expect(200);
    let complete = |wait: &str| {
        let request = client.request(Method::POST, &format!("/v1/uploads/{upload}/complete"));
        request.header("Prefer", format!("wait={wait}"))
    };
    let done = client.send(complete("60")).await.expect(200);
    let read = client.get_after(&format!("/v1/files/{upload}"), &done).await.expect(200);
    assert_eq!((&read.body["scan"]["verdict"], &read.body["is_processed"]), (&json!("CLEAN"), &json!(true)));
    assert!(client.content(&upload).await == content);
    // If clamd does not answer, the completion ends after the preferred time.
    clamd.hang();
    let other = client.start(5).await.expect(201).text("upload_id");
    client.put_chunk(&other, 0, "hello").await.expect(200);
    let done = client.request(Method::POST, &format!("/v1/uploads/{other}/complete")).header("Prefer", "wait=2");
    client.send(done).await.expect(200);
    client.get(&format!("/v1/files/{other}/content")).await.refused(409, "file_not_ready");
    clamd.go_on();
    assert_eq!(verdict(&client, &other).await, "CLEAN");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_infected_file_is_never_readable_by_any_protocol_if_a_scan_is_required() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(Options { shape: Shape::Apart, ..scanned_by(&clamd, "require") }).await;
    let client = stack.client();
    for content in [eicar(), zip_of(&eicar(), 0)] {
        for protocol in PROTOCOLS {
            let file = begin(&client, &sent(content.clone()), protocol).await.unwrap();
            let shown = is_never_readable(&client, &file).await;
            assert_eq!(shown["scan"]["verdict"], "INFECTED", "{protocol}: {shown}");
            assert_eq!(shown["scan"]["signature"], "Eicar-Test.UNOFFICIAL", "{protocol}: {shown}");
            assert_eq!(shown["processing_status"], "FAILED", "{protocol}: {shown}");
            client.get(&format!("/v1/files/{file}/content")).await.refused(403, "file_infected");
            client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.refused(403, "file_infected");
        }
    }
    let infected = client.get("/v1/files?verdict=INFECTED&limit=200").await.expect(200);
    assert_eq!(infected.body["items"].as_array().unwrap().len(), 2 * PROTOCOLS.len());
    let failed = client.get("/v1/files?status=FAILED&limit=200").await.expect(200);
    assert_eq!(failed.body["items"].as_array().unwrap().len(), 2 * PROTOCOLS.len());
    assert_eq!(client.get("/v1/files").await.expect(200).body["items"], json!([]));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_between_two_requests_is_found() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let client = stack.client();
    let content = eicar();
    let (first, second) = content.split_at(30);
    let upload = client.start(68).await.expect(201).text("upload_id");
    for (from, piece) in [(0, first), (30, second)] {
        let range = format!("bytes {from}-{}/68", from + piece.len() - 1);
        let put = client.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0")).header("Content-Range", range);
        client.send(put.body(piece.to_vec())).await.expect(200);
    }
    client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(is_never_readable(&client, &upload).await["scan"]["verdict"], "INFECTED");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_file_becomes_readable_after_its_scan() {
    let mut clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let room = Room::of(&stack).await;
    clamd.kill();
    let query = format!("name=a.txt&mime_type=text/plain&chatroom_id={}", room.chatroom);
    let file = room.anna.post_file(&query, "hello").await.expect(201).text("file_id");
    let waiting = room.anna.file_with_status(&file, "PROCESSING").await;
    assert_eq!((&waiting["is_processed"], &waiting["scan"]), (&json!(false), &Value::Null));
    room.anna.get(&format!("/v1/files/{file}/content")).await.refused(409, "file_not_ready");
    let elsewhere = json!({ "thread_id": room.thread });
    room.anna.post(&format!("/v1/files/{file}/associations"), &elsewhere).await.refused(409, "file_not_ready");
    let listed = room.anna.get("/v1/files?status=PROCESSING").await.expect(200);
    assert_eq!(listed.body["items"][0]["id"], file.as_str());
    // Members of the chatroom do not see the file yet.
    room.ben.get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    let of_room = format!("/v1/files?chatroom_id={}", room.chatroom);
    assert_eq!(room.ben.get(&of_room).await.expect(200).body["items"], json!([]));

    clamd.restart().await;
    let ready = room.ben.file_with_status(&file, "COMPLETED").await;
    assert_eq!((&ready["scan"]["verdict"], &ready["scan"]["covered_bytes"]), (&json!("CLEAN"), &json!(5)));
    assert!(ready["scan"]["engine"].as_str().unwrap().starts_with("ClamAV"), "{ready}");
    assert_eq!(room.ben.content(&file).await, b"hello");
    assert_eq!(room.ben.get(&of_room).await.expect(200).body["items"][0]["id"], file.as_str());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_becomes_readable_while_the_scanner_fails_and_everything_is_scanned_afterwards() {
    let mut clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let client = stack.client();
    let mut files = Vec::new();
    for fault in ["disk", "hang", "kill"] {
        match fault {
            "disk" => clamd.set_has_disk(false),
            "hang" => clamd.hang(),
            _ => clamd.kill(),
        }
        let mut of_fault = vec![post(&client, eicar()).await];
        for n in 0..10 {
            of_fault.push(post(&client, format!("file {n} during {fault}")).await);
        }
        // Longer than the time for which a scan waits for a scanner that hangs.
        let until = tokio::time::Instant::now() + Duration::from_secs(7);
        while tokio::time::Instant::now() < until {
            for file in &of_fault {
                client.get(&format!("/v1/files/{file}/content")).await.refused(409, "file_not_ready");
            }
        }
        match fault {
            "disk" => clamd.set_has_disk(true),
            "hang" => clamd.go_on(),
            _ => clamd.restart().await,
        }
        files.push(of_fault);
    }
    for of_fault in files {
        assert_eq!(verdict(&client, &of_fault[0]).await, "INFECTED");
        for file in &of_fault[1..] {
            assert_eq!(verdict(&client, file).await, "CLEAN");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_go_on_while_the_scanner_reloads_its_signatures() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let client = stack.client();
    for n in 0..20 {
        clamd.command("RELOAD").await;
        let (clean, infected) = (post(&client, format!("file {n}")).await, post(&client, eicar()).await);
        assert_eq!(
            (verdict(&client, &clean).await, verdict(&client, &infected).await),
            ("CLEAN".into(), "INFECTED".into())
        );
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_inform_a_file_is_readable_until_something_is_found_and_an_admin_can_release_it() {
    let mut clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "inform")).await;
    let room = Room::of(&stack).await;
    clamd.kill();
    let query = format!("name=a.txt&mime_type=text/plain&chatroom_id={}", room.chatroom);
    let file = room.anna.post_file(&query, eicar()).await.expect(201).text("file_id");
    room.ben.file_with_status(&file, "COMPLETED").await;
    assert_eq!(room.ben.content(&file).await, eicar());
    let link = room.anna.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201).text("url");
    room.admin.post(&format!("/v1/files/{file}/release"), &json!({})).await.refused(409, "file_not_quarantined");

    clamd.restart().await;
    assert_eq!(verdict(&room.anna, &file).await, "INFECTED");
    let content = format!("/v1/files/{file}/content");
    for client in [&room.anna, &room.ben, &room.admin] {
        client.get(&content).await.refused(403, "file_infected");
    }
    room.anna.get(&link).await.refused(403, "file_infected");
    let of_room = format!("/v1/files?chatroom_id={}", room.chatroom);
    assert_eq!(room.ben.get(&of_room).await.expect(200).body["items"], json!([]));

    let release = format!("/v1/files/{file}/release");
    room.anna.post(&release, &json!({})).await.refused(403, "role_required");
    room.admin.post(&release, &json!({})).await.expect(204);
    room.admin.post(&release, &json!({})).await.expect(204);
    let released = room.ben.file_with_status(&file, "COMPLETED").await;
    assert!(released["released_at"].is_string() && released["scan"]["verdict"] == "INFECTED", "{released}");
    assert_eq!(room.ben.content(&file).await, eicar());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_scanned_completely_is_never_clean() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "require")).await;
    let (client, host) = (stack.client(), stack.host());
    let large = post(&client, bytes(900, 3 << 20)).await;
    let encrypted = post(&client, zip_of(&[vec![0; 12], eicar()].concat(), 1)).await;
    for (file, reason) in [(&large, "too_large"), (&encrypted, "encrypted")] {
        let shown = scanned(&client, file).await;
        assert_eq!((&shown["scan"]["verdict"], &shown["scan"]["reason"]), (&json!("UNSCANNED"), &json!(reason)));
        client.get(&format!("/v1/files/{file}/content")).await.refused(403, "file_unscanned");
    }
    assert_eq!(scanned(&client, &large).await["scan"]["covered_bytes"], 3 << 20);
    // A finding can be at the border of two pieces.
    let hidden = [&bytes(901, (1 << 20) - 20), MARKER, &bytes(902, 1 << 20)].concat();
    assert_eq!(verdict(&client, &post(&client, hidden).await).await, "INFECTED");

    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    host.put(&company, &json!({ "unscanned": "label" })).await.expect(200);
    eventually("the company to permit unscanned files", || async {
        let answer = client.request(Method::GET, &format!("/v1/files/{large}/content")).send().await.unwrap();
        answer.status().is_success().then_some(())
    })
    .await;
    assert_eq!(client.content(&large).await, bytes(900, 3 << 20));
    client.put(&company, &json!({ "unscanned": "block" })).await.expect(200);
    eventually("the company to forbid unscanned files", || async {
        (client.get(&format!("/v1/files/{large}/content")).await.status == 403).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_before_are_scanned_after_a_company_requires_it() {
    let clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "off")).await;
    let (client, other) = (stack.client(), stack.client());
    let (clean, infected) = (post(&client, "hello").await, post(&client, eicar()).await);
    let of_other = post(&other, eicar()).await;
    client.file_with_status(&infected, "COMPLETED").await;
    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    let changed = client.put(&company, &json!({ "scan": "require" })).await.expect(200);
    assert_eq!((&changed.body["scan"], &changed.body["unscanned"]), (&json!("require"), &json!("block")));
    eventually("the infected file to be unreadable", || async {
        (client.get(&format!("/v1/files/{infected}/content")).await.status >= 400).then_some(())
    })
    .await;
    assert_eq!(
        (verdict(&client, &infected).await, verdict(&client, &clean).await),
        ("INFECTED".into(), "CLEAN".into())
    );
    assert_eq!(verdict(&client, &post(&client, "new").await).await, "CLEAN");
    // The other company does not have its files scanned.
    assert_eq!(other.content(&of_other).await, eicar());
    // A company cannot be less strict than the host product requires.
    stack.host().put(&company, &json!({ "scan": "require" })).await.expect(200);
    client.put(&company, &json!({ "scan": "inform" })).await.refused(422, "settings_invalid");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_scans_files_again_and_checks_the_scanner() {
    let mut clamd = ClamdServer::start().await;
    let stack = Stack::with(scanned_by(&clamd, "off")).await;
    let client = stack.client();
    let (clean, infected) = (post(&client, "hello").await, post(&client, eicar()).await);
    client.file_with_status(&infected, "COMPLETED").await;
    stack.projected().await;
    let program = waybill_test_kit::settings("WAYBILL_TEST_BIN");
    let scanner = format!("--clamd={}", clamd.address());
    let run = |command: &str, options: &[&str]| {
        let servers = servers_in(&stack.arguments(if command == "scan" { "content" } else { command }, &[]), true);
        let output = Command::new(&program).arg(command).args(options).arg(&scanner).args(servers).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for options in [&[][..], &["--again"], &["--again", "--company", &client.principal.company_id.to_string()]] {
        let (code, text) = run("scan", options);
        let is_done = code == Some(0) && text.starts_with("2 files scanned, 0 could not be scanned\n");
        assert!(is_done, "{options:?}: {code:?} {text}");
        assert_eq!(
            (verdict(&client, &infected).await, verdict(&client, &clean).await),
            ("INFECTED".into(), "CLEAN".into())
        );
    }
    let (_, text) = run("doctor", &[]);
    assert!(text.contains("✓ clamd: ClamAV"), "{text}");
    clamd.kill();
    let (code, text) = run("scan", &["--again"]);
    assert!(code == Some(1) && text.contains("clamd cannot be reached"), "{text}");
    stack.finish().await;
}
