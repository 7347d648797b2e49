//! Archived files: reads, shares, links, purge and rebuild in each storage tier.

use crate::random;
use crate::sharing::Room;
use crate::socket::{next, send, with_token};
use diesel_async::SimpleAsyncConnection;
use reqwest::Method;
use reqwest::header::{RANGE, RETRY_AFTER};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use waybill_integration_tests::{Backing, Client, Options, Shape, Stack, free_addr};
use waybill_object_store::s3::S3Store;
use waybill_object_store::{ObjectStore, crc64nvme};
use waybill_schema::names;
use waybill_test_kit::{ClamdServer, MotoServer, eventually, eventually_within};

/// The thread that archives has the lowest priority, so that it gets little time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Options with a cold bucket, and searches and deletions at once.
fn archiving(bucket: &str, more: &[&str]) -> Options {
    let all = [
        &format!("--s3-cold-bucket={bucket}"),
        "--archive-every-s=1",
        "--thaw-poll-s=1",
        "--compress-after-s=0",
        "--content-search-ms=200",
        "--purge-after-s=0",
        "--worker-sweep-ms=200",
        // The tests take objects away.
        "--small-object-cache-mib=0",
    ];
    let mut args: Vec<String> = all.into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
    if !args.iter().any(|arg| arg.starts_with("--replaced-kept-s=")) {
        args.push("--replaced-kept-s=0".to_owned());
    }
    Options { args, shape: Shape::Apart }
}

fn bucket() -> String {
    format!("test-{}-cold", Uuid::now_v7().simple())
}

async fn post(client: &Client, name: &str, mime_type: &str, content: &[u8]) -> String {
    let query = format!("name={name}&mime_type={mime_type}");
    client.post_file(&query, content.to_vec()).await.expect(201).text("file_id")
}

/// Has the company archive files that nobody has read for a day.
async fn archive(client: &Client) {
    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    let set = client.put(&company, &json!({ "archive_after_days": 1 })).await.expect(200);
    assert_eq!(set.body["archive_after_days"], 1);
}

async fn execute(backing: &Backing, statement: &str) {
    let database = backing.database("waybill");
    database.connection().await.unwrap().batch_execute(statement).await.unwrap();
}

/// Lets the files of all companies look as if they had been uploaded and read two days earlier, or as they are.
async fn look_old(backing: &Backing, is_old: bool) {
    backing.projected().await;
    let sign = if is_old { '-' } else { '+' };
    let mut statement = format!("UPDATE file SET created_at = created_at {sign} interval '2 days'");
    if is_old {
        statement.push_str("; UPDATE file_read SET read_at = read_at - interval '2 days'");
    }
    execute(backing, &statement).await;
}

/// Waits until a file is archived. The gateway may write after [`look_old`] that it was read.
async fn archived(backing: &Backing, client: &Client, file: &str, tier: &str) -> Value {
    eventually_within(PATIENCE, &format!("file {file} to be {tier}"), || async {
        let recent = "read_at > now() - interval '1 day'";
        execute(backing, &format!("UPDATE file_read SET read_at = read_at - interval '2 days' WHERE {recent}")).await;
        let shown = client.get(&format!("/v1/files/{file}")).await.body;
        (shown["storage_tier"] == tier).then_some(shown)
    })
    .await
}

async fn in_tier(client: &Client, file: &str, tier: &str) -> Value {
    eventually_within(PATIENCE, &format!("file {file} to be {tier}"), || async {
        let shown = client.get(&format!("/v1/files/{file}")).await.body;
        (shown["storage_tier"] == tier).then_some(shown)
    })
    .await
}

/// Returns the keys of the objects of the client's company in a bucket.
async fn keys(store: &S3Store, client: &Client) -> Vec<String> {
    store.list(&format!("{}{}", names::OBJECTS, client.principal.company_id)).await.unwrap()
}

async fn has_keys(store: &S3Store, client: &Client, count: usize) -> Vec<String> {
    eventually_within(PATIENCE, &format!("the bucket to have {count} objects"), || async {
        let keys = keys(store, client).await;
        (keys.len() == count).then_some(keys)
    })
    .await
}

/// Checks all ways in which a file can be read, and that the tables equal a rebuild.
async fn reads(stack: &Stack, owner: &Client, other: &Client, file: &str, content: &[u8]) {
    stack.projected().await;
    for client in [owner, other] {
        assert!(client.content(file).await == content);
    }
    let middle = content.len() / 2;
    let part = owner.request(Method::GET, &format!("/v1/files/{file}/content"));
    let part = part.header(RANGE, format!("bytes={middle}-{}", middle + 99)).send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), content[middle..middle + 100]);
    let token = owner.post(&format!("/v1/files/{file}/tokens"), &json!({ "expires_in_s": 600 })).await.expect(201);
    let linked = reqwest::get(format!("{}{}", stack.url(), token.text("url"))).await.unwrap();
    assert!(linked.bytes().await.unwrap() == content);
}

async fn history(client: &Client, file: &str) -> Vec<String> {
    let events = client.get(&format!("/v1/audit?file_id={file}&limit=200")).await.expect(200).body;
    let items = events["items"].as_array().unwrap().iter();
    items.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn purge(client: &Client, file: &str) {
    client.delete(&format!("/v1/files/{file}")).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_pass_through_the_tiers_of_a_cold_bucket() {
    let bucket = bucket();
    let stack = Stack::with(archiving(&bucket, &["--download-redirects=true"])).await;
    let cold = stack.store_in(&bucket);
    cold.ensure_bucket().await.unwrap();
    let room = Room::of(&stack).await;
    let (client, other) = (room.admin.clone(), room.ben.clone());
    let content = random::bytes(70, 300_000);
    let text: Vec<u8> = random::bytes(71, 4_000).iter().cycle().take(600_000).copied().collect();
    let small = post(&client, "small.txt", "text/plain", b"hello").await;
    let single = post(&client, "a.bin", "application/octet-stream", &content).await;
    let compressed = post(&client, "b.csv", "text/csv", &text).await;
    for file in [&single, &compressed] {
        let share = json!({ "chatroom_id": room.chatroom, "access_type": "PUBLIC" });
        client.post(&format!("/v1/files/{file}/associations"), &share).await.expect(201);
        reads(&stack, &client, &other, file, if file == &single { &content } else { &text }).await;
    }
    eventually_within(PATIENCE, "the text to be compressed", || async {
        keys(&stack.store(), &client).await.iter().any(|key| names::is_compressed(key)).then_some(())
    })
    .await;
    has_keys(&stack.store(), &client, 3).await;

    // A file that was read is not archived, only those that nobody reads.
    archive(&client).await;
    let reads_written = || async {
        let mut connection = stack.database("waybill").connection().await.ok()?;
        connection.batch_execute("SELECT 1 / (count(*) / 2) FROM file_read").await.ok()
    };
    eventually("the reads to be recorded", reads_written).await;
    look_old(&stack, true).await;
    let shown = archived(&stack, &client, &single, "cold").await;
    assert_eq!(shown["restore_requested_at"], Value::Null);
    archived(&stack, &client, &compressed, "cold").await;
    let in_cold = has_keys(&cold, &client, 2).await;
    assert!(in_cold.iter().all(|key| names::is_cold(key)));
    assert_eq!(in_cold.iter().filter(|key| names::is_compressed(key)).count(), 1);
    has_keys(&stack.store(), &client, 1).await;
    assert_eq!(client.get(&format!("/v1/files/{small}")).await.body["storage_tier"], "hot");
    reads(&stack, &client, &other, &single, &content).await;
    reads(&stack, &client, &other, &compressed, &text).await;
    let listed = client.get("/v1/files?storage_tier=cold&view=list").await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(listed["items"][0]["storage_tier"], "cold");
    look_old(&stack, false).await;
    stack.check(0).await;
    assert!(history(&client, &single).await.contains(&"FileArchived".to_owned()));

    // A restored file goes back, and stays there because somebody wanted it.
    client.post(&format!("/v1/files/{compressed}/thaw"), &json!({})).await.expect(202);
    in_tier(&client, &compressed, "hot").await;
    reads(&stack, &client, &other, &compressed, &text).await;
    client.post(&format!("/v1/files/{compressed}/thaw"), &json!({})).await.expect(204);
    assert!(names::is_compressed(&has_keys(&stack.store(), &client, 2).await[1]));
    // The next upload of the same bytes brings the archived file back too.
    let same = post(&client, "c.bin", "application/octet-stream", &content).await;
    in_tier(&client, &single, "hot").await;
    has_keys(&cold, &client, 0).await;
    has_keys(&stack.store(), &client, 3).await;
    reads(&stack, &client, &other, &single, &content).await;
    stack.check(0).await;
    let events = history(&client, &single).await;
    assert_eq!(events.iter().filter(|event| *event == "FileThawed").count(), 1, "{events:?}");

    // The files of one object are archived together, and each is purged for itself.
    look_old(&stack, true).await;
    for file in [&single, &same, &compressed] {
        archived(&stack, &client, file, "cold").await;
    }
    look_old(&stack, false).await;
    has_keys(&cold, &client, 2).await;
    purge(&client, &single).await;
    eventually("the file to be purged", || async {
        (client.get(&format!("/v1/files/{single}")).await.status == 404).then_some(())
    })
    .await;
    assert!(client.content(&same).await == content);
    for file in [&same, &compressed, &small] {
        purge(&client, file).await;
    }
    has_keys(&cold, &client, 0).await;
    has_keys(&stack.store(), &client, 0).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_class_must_be_restored_before_it_is_read() {
    let moto = MotoServer::start(free_addr(), 3).await;
    let bucket = bucket();
    let endpoint = format!("--s3-cold-endpoint={}", moto.url());
    let stack = Stack::with(archiving(&bucket, &[&endpoint, "--s3-cold-storage-class=GLACIER"])).await;
    let cold = stack.store_at(moto.url(), &bucket);
    cold.ensure_bucket().await.unwrap();
    let client = stack.client();
    let other = stack.client_for(client.principal.company_id, &[]);
    let content = random::bytes(72, 9 << 20);
    let file = post(&client, "a.bin", "application/octet-stream", &content).await;
    let token = client.post(&format!("/v1/files/{file}/tokens"), &json!({ "expires_in_s": 600 })).await.expect(201);
    archive(&client).await;
    look_old(&stack, true).await;
    archived(&stack, &client, &file, "archive").await;
    look_old(&stack, false).await;
    has_keys(&stack.store(), &client, 0).await;
    stack.check(0).await;

    let path = format!("/v1/files/{file}/content");
    client.get(&path).await.refused(409, "file_archived");
    assert_eq!(client.request(Method::HEAD, &path).send().await.unwrap().status(), 409);
    let linked = reqwest::get(format!("{}{}", stack.url(), token.text("url"))).await.unwrap();
    assert_eq!(linked.status(), 409);
    other.post(&format!("/v1/files/{file}/thaw"), &json!({})).await.expect(404);

    // A refused download does not use up the link, and everything except the bytes is there.
    assert_eq!(client.get(&format!("/v1/files/{file}")).await.expect(200).body["size_bytes"], content.len());
    let mut socket = with_token(stack.progress_url(), &client).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{file}") })).await;
    assert_eq!(next(&mut socket).await["t"], "snap");
    client.post(&format!("/v1/files/{file}/thaw"), &json!({})).await.expect(202);
    eventually("the request to be shown", || async {
        let shown = client.get(&format!("/v1/files/{file}")).await.body;
        (shown["restore_requested_at"] != Value::Null || shown["storage_tier"] == "hot").then_some(())
    })
    .await;
    let answer = client.request(Method::GET, &path).send().await.unwrap();
    assert!(answer.status() == 200 || answer.headers().contains_key(RETRY_AFTER), "{answer:?}");
    while next(&mut socket).await["kind"] != "FileThawed" {}
    in_tier(&client, &file, "hot").await;
    assert!(client.content(&file).await == content);
    let linked = reqwest::get(format!("{}{}", stack.url(), token.text("url"))).await.unwrap();
    assert!(linked.bytes().await.unwrap() == content);
    let events = history(&client, &file).await;
    for event in ["FileArchived", "FileRestoreRequested", "FileThawed"] {
        assert_eq!(events.iter().filter(|one| *one == event).count(), 1, "{events:?}");
    }
    has_keys(&cold, &client, 0).await;

    // A purge does not wait for the restoring.
    stack.check(0).await;
    look_old(&stack, true).await;
    archived(&stack, &client, &file, "archive").await;
    look_old(&stack, false).await;
    has_keys(&cold, &client, 1).await;
    purge(&client, &file).await;
    has_keys(&cold, &client, 0).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_kept_while_the_one_that_replaced_it_is_missing() {
    let bucket = bucket();
    let stack = Stack::with(archiving(&bucket, &["--replaced-kept-s=2", "--download-redirects=true"])).await;
    let (hot, cold) = (stack.store(), stack.store_in(&bucket));
    cold.ensure_bucket().await.unwrap();
    let client = stack.client();
    let content = random::bytes(74, 200_000);
    let file = post(&client, "a.bin", "application/octet-stream", &content).await;
    let before = keys(&hot, &client).await;
    // A download with a link counts as a read, also if the store sends the bytes.
    let token = client.post(&format!("/v1/files/{file}/tokens"), &json!({ "expires_in_s": 600 })).await.expect(201);
    let url = format!("{}{}", stack.url(), token.text("url"));
    assert!(reqwest::get(url).await.unwrap().bytes().await.unwrap() == content);
    eventually("the read to be recorded", || async {
        let mut connection = stack.database("waybill").connection().await.ok()?;
        connection.batch_execute("SELECT 1 / count(*) FROM file_read").await.ok()
    })
    .await;
    archive(&client).await;
    look_old(&stack, true).await;
    archived(&stack, &client, &file, "cold").await;
    look_old(&stack, false).await;
    // The store loses the new object before the old one is deleted. The files refer to the old one again, and it stays.
    cold.delete(&has_keys(&cold, &client, 1).await[0]).await.unwrap();
    in_tier(&client, &file, "hot").await;
    stack.acknowledged(names::REPLACED_DURABLE).await;
    assert_eq!(keys(&hot, &client).await, before);
    assert!(client.content(&file).await == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_archived_before_scans_were_required_can_be_restored_and_scanned() {
    let clamd = ClamdServer::start().await;
    let moto = MotoServer::start(free_addr(), 1).await;
    let bucket = bucket();
    let (endpoint, scanner) = (format!("--s3-cold-endpoint={}", moto.url()), format!("--clamd={}", clamd.address()));
    let more = [endpoint.as_str(), "--s3-cold-storage-class=GLACIER", &scanner];
    let stack = Stack::with(archiving(&bucket, &more)).await;
    stack.store_at(moto.url(), &bucket).ensure_bucket().await.unwrap();
    let client = stack.client();
    let content = random::bytes(75, 200_000);
    let file = post(&client, "a.bin", "application/octet-stream", &content).await;
    archive(&client).await;
    look_old(&stack, true).await;
    archived(&stack, &client, &file, "archive").await;
    look_old(&stack, false).await;
    let company = format!("/v1/admin/companies/{}", client.principal.company_id);
    client.put(&company, &json!({ "archive_after_days": 1, "scan": "require" })).await.expect(200);
    eventually("the file to wait for a scan", || async {
        let answer = client.get(&format!("/v1/files/{file}/content")).await;
        (answer.body["code"] == "file_not_ready").then_some(())
    })
    .await;
    client.post(&format!("/v1/files/{file}/thaw"), &json!({})).await.expect(202);
    in_tier(&client, &file, "hot").await;
    let scanned = eventually_within(PATIENCE, "the file to be scanned", || async {
        let answer = client.get(&format!("/v1/files/{file}")).await;
        (answer.body["scan"] != Value::Null).then_some(answer.body)
    });
    assert_eq!(scanned.await["scan"]["verdict"], "CLEAN");
    assert!(client.content(&file).await == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_the_other_bucket_that_a_restored_log_does_not_name_is_used() {
    let bucket = bucket();
    let stack = Stack::with(archiving(&bucket, &[])).await;
    let (hot, cold) = (stack.store(), stack.store_in(&bucket));
    cold.ensure_bucket().await.unwrap();
    let client = stack.client();
    let content = random::bytes(73, 200_000);
    let file = post(&client, "a.bin", "application/octet-stream", &content).await;
    // The log was restored from a backup, and the file was archived after that backup.
    let take_away = async |from: &S3Store, to: &S3Store, is_cold: bool| {
        let key = keys(from, &client).await.remove(0);
        let (company, upload) = names::owner(names::OBJECTS, &key).unwrap();
        let bytes = from.get(&key, 0, None).await.unwrap().collect().await.unwrap();
        let moved = names::moved_key(company, upload, Uuid::now_v7(), &key, is_cold);
        to.put(&moved, bytes.clone(), crc64nvme(&bytes)).await.unwrap();
        from.delete(&key).await.unwrap();
    };
    take_away(&hot, &cold, true).await;
    client.get(&format!("/v1/files/{file}/content")).await.expect(404);
    archive(&client).await;
    look_old(&stack, true).await;
    archived(&stack, &client, &file, "cold").await;
    assert!(client.content(&file).await == content);
    look_old(&stack, false).await;
    // Or it was restored after that backup.
    take_away(&cold, &hot, false).await;
    client.get(&format!("/v1/files/{file}/content")).await.expect(404);
    eventually("the tier to be recorded", || async {
        (client.post(&format!("/v1/files/{file}/thaw"), &json!({})).await.status == 202).then_some(())
    })
    .await;
    in_tier(&client, &file, "hot").await;
    assert!(client.content(&file).await == content);
    stack.finish().await;
}
