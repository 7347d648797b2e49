//! `waybill audit-store` finds unreferenced objects, and does not touch objects that are needed.

use bytes::Bytes;
use serde_json::{Value, json};
use std::process::Command;
use uuid::Uuid;
use waybill_integration_tests::{Client, Options, Shape, Stack, servers_in};
use waybill_object_store::{ObjectStore, crc64nvme};
use waybill_schema::names;
use waybill_test_kit::eventually;

/// Runs `waybill audit-store`. Returns whether it exits with 0, its findings as kind and key, and its last line.
fn audit(stack: &Stack, options: &[&str]) -> (bool, Vec<(String, String)>, Value) {
    run(stack, "audit-store", options)
}

fn run(stack: &Stack, command: &str, options: &[&str]) -> (bool, Vec<(String, String)>, Value) {
    let servers = servers_in(&stack.arguments(command, &[]), true);
    let program = waybill_test_kit::settings("WAYBILL_TEST_BIN");
    let output = Command::new(program).args([command, "--json"]).args(options).args(servers).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = lines.pop().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let found = |line: &Value| (line["kind"].as_str().unwrap().to_owned(), line["key"].as_str().unwrap().to_owned());
    let mut findings: Vec<_> = lines.iter().map(found).collect();
    findings.sort();
    (output.status.success(), findings, sum)
}

async fn put(stack: &Stack, key: &str) {
    let bytes = Bytes::from_static(b"nobody's");
    let crc = crc64nvme(&bytes);
    stack.store().put(key, bytes, crc).await.unwrap();
}

/// Uploads a file. Returns its id and the key of its object.
async fn file(stack: &Stack, client: &Client, content: &'static str) -> (String, String) {
    let posted = client.post_file("name=a.txt&mime_type=text/plain", content).await.expect(201);
    let file = posted.text("file_id");
    let prefix = names::objects_prefix(client.principal.company_id, file.parse().unwrap());
    let keys = stack.store().list(&prefix).await.unwrap();
    (file, keys.into_iter().next().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_refers_to_is_found_and_nothing_else() {
    let stack = Stack::start().await;
    let (client, store) = (stack.client(), stack.store());
    let company = client.principal.company_id;

    // A running upload with a part in its multipart upload and staged bytes.
    let content = crate::random::bytes(70, 17 << 20);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content[..8 << 20].to_vec()).await.expect(200);
    let piece = |from: usize, to: usize| {
        let (from, to) = (from + (8 << 20), to + (8 << 20));
        let range = format!("bytes {from}-{}/{}", to - 1, content.len());
        let put = client.request(reqwest::Method::PUT, &format!("/v1/uploads/{upload}/chunks/1"));
        put.header("Content-Range", range).body(content[from..to].to_vec())
    };
    client.send(piece(0, 100_000)).await.expect(200);
    let staging = names::staging_prefix(company, upload.parse().unwrap());
    assert_eq!(store.list(&staging).await.unwrap().len(), 1);

    // Two files with the same bytes, a deleted file that can be restored, and a file whose object has a twin.
    let (first, shared) = file(&stack, &client, "the same bytes").await;
    // If the reaction to the first file ran after the second file was stored, both would share the second object.
    stack.settled().await;
    let (second, _) = file(&stack, &client, "the same bytes").await;
    eventually("the second file to share the first one's object", || async {
        let prefix = names::objects_prefix(company, second.parse().unwrap());
        store.list(&prefix).await.unwrap().is_empty().then_some(())
    })
    .await;
    let (deleted, deleted_key) = file(&stack, &client, "deleted, not purged").await;
    client.delete(&format!("/v1/files/{deleted}")).await.expect(204);
    let (_, own) = file(&stack, &client, "has a twin").await;
    let twin = format!("{}-{}", own.rsplit_once('-').unwrap().0, Uuid::now_v7().simple());
    stack.projected().await;

    let (unknown, name) = (Uuid::now_v7(), Uuid::now_v7().simple());
    let orphan = format!("o/{company}/{unknown}-{name}");
    let staged = format!("s/{company}/{unknown}/{:020}-{name}", 0);
    let quarantined = format!("q/{company}/{unknown}/{name}");
    for key in [&twin, &orphan, &staged, &quarantined, "o/somebody-else/file.txt"] {
        put(&stack, key).await;
    }
    let cancelled = client.start(9_000_000).await.expect(201).text("upload_id");
    client.delete(&format!("/v1/uploads/{cancelled}")).await.expect(204);
    let open = format!("o/{company}/{cancelled}-{name}");
    store.create_multipart(&open, None).await.unwrap();

    // Young objects may belong to running requests, so they are not reported.
    let (is_clean, findings, _) = audit(&stack, &[]);
    assert!(is_clean && findings.is_empty(), "{findings:?}");

    let of = |kind: &str, key: &str| (kind.to_owned(), key.to_owned());
    let mut expected = vec![
        of("foreign", "o/somebody-else/file.txt"),
        of("multipart", &open),
        of("object", &orphan),
        of("object", &twin),
        of("quarantine", &quarantined),
        of("staging", &staged),
    ];
    expected.sort();
    // The age has a resolution of 1 s.
    eventually("all objects to be old enough", || async {
        let (is_clean, findings, sum) = audit(&stack, &["--older-than=0", "--missing"]);
        assert!(!findings.iter().any(|finding| !expected.contains(finding)), "{findings:?}");
        (!is_clean && findings == expected && sum["found"] == 6).then_some(())
    })
    .await;
    let (is_clean, findings, sum) = run(&stack, "reconcile", &["--older-than=0", "--dry-run"]);
    assert!(!is_clean && findings == expected && sum["deleted"] == 0, "{findings:?}");
    let (is_clean, _, sum) = run(&stack, "reconcile", &["--older-than=0"]);
    assert_eq!(
        (is_clean, &sum["found"], &sum["deleted"], &sum["deleted_bytes"]),
        (false, &json!(6), &json!(5), &json!(32))
    );
    store.delete("o/somebody-else/file.txt").await.unwrap();
    let (is_clean, findings, _) = audit(&stack, &["--older-than=0", "--delete", "--missing"]);
    assert!(is_clean && findings.is_empty(), "{findings:?}");

    // All needed objects still exist.
    client.send(piece(100_000, 8 << 20)).await.expect(200);
    client.put_chunk(&upload, 2, content[16 << 20..].to_vec()).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    assert!(client.content(&upload).await == content);
    assert_eq!(store.size(&deleted_key).await.unwrap(), Some(19));
    for file in [&first, &second] {
        assert_eq!(client.content(file).await, b"the same bytes");
    }

    // An object that somebody deleted.
    stack.projected().await;
    store.delete(&shared).await.unwrap();
    let (is_clean, findings, sum) = audit(&stack, &["--missing"]);
    assert!(!is_clean);
    assert_eq!(findings, [of("missing", &shared), of("missing", &shared)]);
    assert_eq!(sum["found_bytes"], 28);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_deletes_what_nothing_refers_to_and_nothing_else() {
    let schedule = ["--reconcile-every-s=1", "--reconcile-delete=true", "--reconcile-older-than-s=0"];
    let args = schedule.map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, shape: Shape::Apart }).await;
    let client = stack.client();
    let (kept, _) = file(&stack, &client, "needed").await;
    let orphan = format!("o/{}/{}-{}", client.principal.company_id, Uuid::now_v7(), Uuid::now_v7().simple());
    put(&stack, &orphan).await;
    eventually("the orphan to be deleted", || async {
        stack.store().size(&orphan).await.ok()?.is_none().then_some(())
    })
    .await;
    client.file_with_status(&kept, "COMPLETED").await;
    assert_eq!(client.content(&kept).await, b"needed");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l18_a_purge_deletes_more_objects_of_a_file_than_one_page_lists() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (file, key) = file(&stack, &client, "one of many").await;
    let prefix = names::objects_prefix(client.principal.company_id, file.parse().unwrap());
    // A page has 1,000 keys.
    let others: Vec<String> = (0..1_001).map(|n| format!("{prefix}{n:04}")).collect();
    for some in others.chunks(50) {
        futures_util::future::join_all(some.iter().map(|key| put(&stack, key))).await;
    }
    client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    eventually("all objects of the file to be gone", || async {
        stack.store().list(&prefix).await.ok()?.is_empty().then_some(())
    })
    .await;
    assert_eq!(stack.store().size(&key).await.ok(), Some(None));
    stack.finish().await;
}
