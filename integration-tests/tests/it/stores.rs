//! Object stores that refuse some requests, fail, or answer slowly.

use crate::random::{Source, bytes, sha256};
use crate::speaker::{Speaker, id_of};
use reqwest::Method;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use waybill_integration_tests::{Client, CommandLine, Fault, Options, Request, Stack, StoreFront};
use waybill_object_store::ObjectStore;
use waybill_test_kit::{eventually, settings};

const PART_BYTES: usize = 8 << 20;

/// Starts a Waybill behind a proxy that can disturb the requests to the store.
async fn disturbed() -> (StoreFront, Stack) {
    let front = StoreFront::start(&settings("WAYBILL_TEST_S3_ENDPOINT")).await;
    let args = vec![front.argument(), "--worker-sweep-ms=100".to_owned()];
    (front, Stack::with(Options { args, ..Options::default() }).await)
}

/// Starts an upload, stores a part and staged bytes after it, and cancels the upload.
async fn cancelled(client: &Client) {
    let tus = Speaker::tus(client.clone());
    let length = (9_u64 << 20).to_string();
    let path = tus.post(&[("Upload-Length", &length)], "").await.expect(201).location();
    tus.patch(&path, 0, vec![1; (8 << 20) + 100_000]).await.expect(204);
    client.delete(&format!("/v1/uploads/{}", path.rsplit('/').next().unwrap())).await.expect(204);
}

async fn objects(stack: &Stack) -> usize {
    stack.store().list("").await.unwrap().len()
}

/// Uploads a file and waits until it is verified. Returns its id.
async fn a_file_is_taken(client: &Client) -> String {
    let id = client.start(5).await.expect(201).text("upload_id");
    client.put_chunk(&id, 0, b"hello".to_vec()).await.expect(200);
    let request = || client.request(Method::POST, &format!("/v1/uploads/{id}/complete")).header("Prefer", "wait=60");
    let done = client.send_until_done(|| request().json(&json!({}))).await;
    assert_eq!(done.body["status"], "COMPLETED", "{done:?}");
    done.text("file_id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_where_nobody_may_ask_about_versions_objects_are_deleted_all_the_same() {
    let (front, stack) = disturbed().await;
    for (status, code) in
        [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed"), (403, "SomethingElse")]
    {
        let asks = |target: &str| target.contains("?versioning") || target.contains("?versions");
        front.set(move |request| asks(&request.target).then_some(Fault::Answer(status, code)));
        let client = stack.client();
        cancelled(&client).await;
        let file = a_file_is_taken(&client).await;
        client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
        stack.settled().await;
        assert_eq!(objects(&stack).await, 0, "{code}");
        let quota = client.get("/v1/quota").await.expect(200).body;
        assert_eq!((&quota["storage_used_bytes"], &quota["storage_reserved_bytes"]), (&json!(0), &json!(0)));
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_objects_that_cannot_be_deleted_hold_up_nothing_and_go_when_they_can() {
    let (front, stack) = disturbed().await;
    let client = stack.client();
    let refuse = |what: fn(&Request) -> bool| {
        front.set(move |request| what(request).then_some(Fault::Answer(403, "AccessDenied")));
    };
    // A worker finds the staged objects with a list request.
    refuse(|request| request.method == "GET" && request.target.contains("list-type=2"));
    cancelled(&client).await;
    stack.settled().await;
    refuse(|request| request.method == "DELETE" || request.asks("delete"));
    for _ in 0..5 {
        cancelled(&client).await;
    }
    // The reservation is released immediately, and no reaction waits for the store.
    stack.nothing_reserved(client.principal.company_id).await;
    let file = a_file_is_taken(&client).await;
    client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    stack.settled().await;
    let quota = client.get("/v1/quota").await.expect(200).body;
    assert_eq!((&quota["storage_used_bytes"], &quota["storage_reserved_bytes"]), (&json!(0), &json!(0)));
    assert!(objects(&stack).await >= 6);
    front.set(|_| None);
    eventually("the objects to be deleted", || async {
        let uploads = stack.store().list_multiparts("").await.unwrap();
        (objects(&stack).await == 0 && uploads.is_empty()).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_locked_versions_are_tried_again() {
    let (front, stack) = disturbed().await;
    stack.store().keep_versions().await.unwrap();
    let is_locked = |target: &str| target.contains("versionId=");
    front.set(move |request| {
        (request.method == "DELETE" && is_locked(&request.target)).then_some(Fault::Answer(403, "AccessDenied"))
    });
    let client = stack.client();
    cancelled(&client).await;
    stack.nothing_reserved(client.principal.company_id).await;
    stack.settled().await;
    a_file_is_taken(&client).await;
    front.set(|_| None);
    eventually("all objects except that of the file to be deleted", || async {
        (objects(&stack).await == 1).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a17_a_copy_whose_answer_is_lost_is_not_made_again() {
    let (front, stack) = disturbed().await;
    let copies = Arc::new(AtomicUsize::new(0));
    let counted = copies.clone();
    front.set(move |request| {
        let is_copy = request.method == "PUT" && request.head.contains("x-amz-copy-source:");
        (is_copy && counted.fetch_add(1, Ordering::SeqCst) == 0).then_some(Fault::Lost)
    });
    let client = stack.client();
    // A page uploads directly to the store. The answer to this request is not lost.
    let signed = client.get("/uppy/s3/params?filename=a.bin&type=application/octet-stream").await.expect(200);
    let path = signed.text("url").split_once("/test-").unwrap().1.to_owned();
    let url = format!("{}/test-{path}", front.url());
    let put = reqwest::Client::new().put(url).body("hello").send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let id = signed.text("file_id");
    client.file_with_status(&id, "COMPLETED").await;
    assert_eq!(client.content(&id).await, b"hello");
    stack.settled().await;
    assert_eq!((copies.load(Ordering::SeqCst), objects(&stack).await), (1, 1));
    stack.finish().await;
}

/// S3 answers slow requests with 200 before it knows the result. If the request fails, the body has an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_200_with_an_error_in_it_is_an_error() {
    let (front, stack) = disturbed().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = answered.clone();
    front.set(move |request| {
        let completes = request.method == "POST" && request.target.contains("uploadId=");
        let copies = request.method == "PUT" && request.head.contains("x-amz-copy-source:");
        let first = || counted.fetch_add(1, Ordering::SeqCst) < 4;
        ((completes || copies) && first()).then_some(Fault::Answer(200, "InternalError"))
    });
    let client = stack.client();
    let content = vec![3; 9 << 20];
    let id = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&id, 0, content[..8 << 20].to_vec()).await.expect(200);
    client.put_chunk(&id, 1, content[8 << 20..].to_vec()).await.expect(200);
    client.complete(&id, &json!({})).await.expect(200);
    client.file_with_status(&id, "COMPLETED").await;
    assert!(client.content(&id).await == content);
    assert!(answered.load(Ordering::SeqCst) > 4);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_asks_to_slow_down_is_asked_again() {
    let (front, stack) = disturbed().await;
    // Every request is refused the first time and answered the second time.
    let asked = Mutex::new(HashSet::new());
    front.set(move |request| {
        let is_new = asked.lock().unwrap().insert((request.method.clone(), request.target.clone()));
        is_new.then_some(Fault::Answer(503, "SlowDown"))
    });
    let client = stack.client();
    for _ in 0..3 {
        cancelled(&client).await;
        let file = a_file_is_taken(&client).await;
        assert_eq!(client.content(&file).await, b"hello");
        client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    }
    stack.settled().await;
    assert_eq!(objects(&stack).await, 0);
    stack.finish().await;
}

/// Returns the number of the part that a request writes.
fn part_of(request: &Request) -> Option<u32> {
    let query = request.target.split_once('?')?.1;
    let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber="))?;
    number.parse().ok().filter(|_| request.method == "PUT")
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_fail_or_come_late_in_the_middle_of_a_body_lose_no_byte() {
    let (front, stack) = disturbed().await;
    let content = bytes(17, 9 * PART_BYTES + 12_345);
    let tries: Mutex<HashMap<u32, u32>> = Mutex::default();
    front.set(move |request| {
        let part = part_of(request)?;
        let mut tries = tries.lock().unwrap();
        let tries = tries.entry(part).or_default();
        let before = std::mem::replace(tries, *tries + 1);
        match (part, before) {
            // The worker retries these within the request.
            (2, 0) | (9, 0..=1) => Some(Fault::Answer(503, "SlowDown")),
            // The client must send this part again. The parts after it are already in the store.
            (4, 0..=2) => Some(Fault::Answer(500, "InternalError")),
            (3 | 6, 0) => Some(Fault::After(Duration::from_millis(1_500))),
            (7, 0) => Some(Fault::Lost),
            _ => None,
        }
    });
    let client = stack.client();
    let tus = Speaker::tus(client.clone());
    let path = tus.create(content.len()).await;
    let (mut offset, mut requests) = (0, 0);
    while offset < content.len() {
        requests += 1;
        assert!(requests <= 4, "too many requests at offset {offset}");
        let is_taken = tus.is_taken(&path, offset, content[offset..].to_vec()).await;
        let reached = tus.head(&path).await.expect(200).header("Upload-Offset").unwrap().parse().unwrap();
        assert!(reached > offset, "the request made no progress: {offset} {reached}");
        assert!(!is_taken || reached == content.len());
        offset = reached;
    }
    assert!(requests > 1, "no request of the client failed");
    let file = id_of(&path);
    client.file_with_status(&file, "COMPLETED").await;
    assert!(client.content(&file).await == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_in_the_store_goes_on() {
    let (front, stack) = disturbed().await;
    let client = stack.client();
    let content: Vec<u8> = (0..12_u32 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let id = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&id, 0, content[..8 << 20].to_vec()).await.expect(200);
    client.put_chunk(&id, 1, content[8 << 20..].to_vec()).await.expect(200);
    client.complete(&id, &json!({})).await.expect(200);
    client.file_with_status(&id, "COMPLETED").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    front.set(move |request| {
        // A reaction may still list the objects that it deletes.
        let reads = request.method == "GET" && !request.asks("list-type");
        (reads && counted.fetch_add(1, Ordering::SeqCst) < 3).then_some(Fault::CutAfter(3 << 20))
    });
    assert!(client.content(&id).await == content, "the client got other bytes");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_11_a_store_that_goes_away_is_no_mistake_of_the_client() {
    let (front, stack) = disturbed().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(111, 9_000_000);
    let upload = tus.create(content.len()).await;
    tus.patch(&upload, 0, content[..6_000_000].to_vec()).await.expect(204);
    // The bytes that complete the part are staged, but the part cannot be written.
    let is_part = |request: &Request| request.method == "PUT" && request.target.contains("partNumber=");
    front.set(move |request| is_part(request).then_some(Fault::Answer(503, "ServiceUnavailable")));
    tus.patch(&upload, 6_000_000, content[6_000_000..].to_vec()).await.refused(503, "unavailable");
    front.set(|_| None);
    let offset = tus.head(&upload).await.expect(200).header("Upload-Offset").unwrap().parse::<usize>().unwrap();
    assert!(offset > 6_000_000, "{offset}");
    tus.patch(&upload, offset, content[offset..].to_vec()).await.expect(204);
    assert_eq!(tus.client.file_with_status(&id_of(&upload), "COMPLETED").await["hash"], sha256(&content));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_16_a_store_that_cannot_be_reached_is_named() {
    let front = StoreFront::start(&settings("WAYBILL_TEST_S3_ENDPOINT")).await;
    let store = front.url();
    let args = vec![format!("--s3-public-endpoint={store}")];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    drop(front);
    let home = tempfile::tempdir().unwrap();
    let source = Source::write(home.path(), "a.bin", 116, 5);
    let args = [source.path.to_str().unwrap(), "--protocol", "direct", "--give-up-after", "1"];
    let ended = CommandLine::start(&stack.client(), home.path(), "upload", &args).ended().await;
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(format!("{ended:?}").contains(&format!("{store} does not answer")), "{ended:?}");
    stack.finish().await;
}

/// The store has a host name that only the servers can resolve, as in docker-compose.yml. Clients must send their bytes
/// to Waybill.
#[tokio::test(flavor = "multi_thread")]
async fn compose_16_a_store_that_clients_do_not_know_takes_no_direct_uploads() {
    let args = vec!["--s3-endpoint=http://store:8333".to_owned(), "--allow-cleartext=true".to_owned()];
    let stack = Stack::start_without_waiting(Options { args, ..Options::default() }).await;
    let refused = stack.client().start_with(5, json!({ "mode": "direct" })).await;
    refused.refused(409, "direct_unavailable");
    stack.stop().await;
}

/// Refuses parts whose checksum algorithm was not announced when the multipart upload was created, as the S3 API
/// reference demands (correctness S2-9). Returns the checksum algorithms of the parts that arrived.
fn demand_announced_checksums(front: &StoreFront) -> Arc<Mutex<HashSet<String>>> {
    let (announced, seen) = (Mutex::new(HashMap::new()), Arc::new(Mutex::new(HashSet::new())));
    let came = seen.clone();
    front.set(move |request| {
        let (key, query) = request.target.split_once('?')?;
        let header = |name: &str| {
            request
                .head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find_map(|(n, v)| Some((n.strip_prefix(name)?, v)))
        };
        if request.method == "POST" && query.starts_with("uploads") {
            let (_, algorithm) = header("x-amz-checksum-algorithm").unwrap_or(("", "none"));
            announced.lock().unwrap().insert(key.to_owned(), algorithm.to_owned());
        } else if request.method == "PUT"
            && query.contains("partNumber=")
            && !request.head.contains("x-amz-copy-source:")
        {
            let (algorithm, _) = header("x-amz-checksum-").unwrap_or(("none", ""));
            came.lock().unwrap().insert(algorithm.to_owned());
            let is_announced = announced.lock().unwrap().get(key).is_some_and(|announced| announced == algorithm);
            return (!is_announced).then_some(Fault::Answer(400, "InvalidRequest"));
        }
        None
    });
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_9_the_algorithm_of_the_parts_checksums_is_announced() {
    let (front, stack) = disturbed().await;
    let seen = demand_announced_checksums(&front);
    let client = stack.client();
    // Bytes that a worker writes.
    let id = client.start(PART_BYTES as u64 + 5).await.expect(201).text("upload_id");
    client.put_chunk(&id, 0, vec![1; PART_BYTES]).await.expect(200);
    client.put_chunk(&id, 1, b"hello".to_vec()).await.expect(200);
    client.complete(&id, &json!({})).await.expect(200);
    // Parts that clients write to the store. SHA cannot be announced: docs/tutorials/first-upload-curl.md.
    let checksums = ["crc32 NhCmhg==", "crc32c mnG7TA=="];
    for checksum in checksums {
        let id = client.start_with(5, json!({ "mode": "direct" })).await.expect(201).text("upload_id");
        let sign = async |checksum: &str| {
            let part = json!({ "part_number": 1, "size_bytes": 5, "checksum": checksum });
            client.post(&format!("/v1/uploads/{id}/parts/sign"), &json!({ "parts": [part] })).await
        };
        let signed = sign(checksum).await.expect(200).body["parts"][0].clone();
        for other in
            checksums.into_iter().filter(|other| *other != checksum).chain(["sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="])
        {
            sign(other).await.refused(400, "checksum_invalid");
        }
        let mut request = reqwest::Client::new().put(signed["url"].as_str().unwrap()).body("hello");
        for (name, value) in signed["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let stored = request.send().await.unwrap();
        assert_eq!(stored.status(), 200, "{checksum}");
        let part = json!({ "part_number": 1, "etag": stored.headers()["ETag"].to_str().unwrap() });
        client.post(&format!("/v1/uploads/{id}/parts"), &part).await.expect(200);
        assert_eq!(client.complete(&id, &json!({})).await.expect(200).body["status"], "COMPLETED", "{checksum}");
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, ["crc64nvme", "crc32", "crc32c"].map(str::to_owned).into());
    stack.finish().await;
}
