//! Stores that do not allow everything, or take their time.

use crate::speaker::Speaker;
use reqwest::Method;
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use waybill_integration_tests::{Client, Fault, Options, Request, Stack, StoreFront};
use waybill_object_store::ObjectStore;
use waybill_test_kit::{eventually, settings};

/// A Waybill whose requests to the store can be disturbed.
async fn disturbed() -> (StoreFront, Stack) {
    let front = StoreFront::start(&settings("WAYBILL_TEST_S3_ENDPOINT")).await;
    let args = vec![front.argument(), "--worker-sweep-ms=100".to_owned()];
    (front, Stack::with(Options { args, ..Options::default() }).await)
}

/// An upload with a part in the store, and staged bytes behind it, that is cancelled.
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

/// A file is uploaded and verified.
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
    // Staged objects are found by a list.
    refuse(|request| request.method == "GET" && request.target.contains("list-type=2"));
    cancelled(&client).await;
    stack.settled().await;
    refuse(|request| request.method == "DELETE");
    for _ in 0..5 {
        cancelled(&client).await;
    }
    // Space is given back at once, and no reaction waits for the store.
    stack.nothing_reserved(client.principal.company_id).await;
    let file = a_file_is_taken(&client).await;
    client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    stack.settled().await;
    let quota = client.get("/v1/quota").await.expect(200).body;
    assert_eq!((&quota["storage_used_bytes"], &quota["storage_reserved_bytes"]), (&json!(0), &json!(0)));
    assert!(objects(&stack).await >= 6);
    front.set(|_| None);
    eventually("the objects to go", || async {
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
    eventually("all but the file's object to go", || async { (objects(&stack).await == 1).then_some(()) }).await;
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
    // A page sends to the store itself, whose answers are not ours to lose.
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

/// S3 answers requests that take long with 200 at once, and with an error in the body if they fail.
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
    // Every request, whatever it is for, is answered when it comes for the second time.
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
        (request.method == "GET" && counted.fetch_add(1, Ordering::SeqCst) < 3).then_some(Fault::CutAfter(3 << 20))
    });
    assert!(client.content(&id).await == content, "a client of ours sees nothing of it");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    stack.finish().await;
}
