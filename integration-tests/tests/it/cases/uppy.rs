//! Uploads of Uppy directly to the store.

use super::MIB;
use crate::random::bytes;
use reqwest::{Client as Http, Method};
use serde_json::{Value, json};
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a5_f3_a_completion_may_name_as_many_parts_as_s3_has() {
    let stack = Stack::start().await;
    let client = stack.client();
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    let parts: Vec<Value> = (1..=10_000).map(|n| json!({ "PartNumber": n, "ETag": format!("\"{n:032x}\"") })).collect();
    client.post(&complete, &json!({ "parts": parts })).await.refused(409, "part_missing");
    let larger = json!({ "parts": parts, "more": "x".repeat(1_300_000) });
    client.post(&complete, &larger).await.refused(413, "json_too_large");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_f2_uploads_of_unknown_size_take_little_and_give_it_back_when_their_urls_end() {
    let args = ["--upload-url-lifetime-s=3", "--expiry-grace-s=0", "--worker-sweep-ms=200"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 1_000_000_000 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    for n in 0..103 {
        if n % 2 == 0 {
            client.post("/uppy/s3/multipart", &json!({ "filename": "a.jpg", "type": "image/jpeg" })).await.expect(200);
        } else {
            client.get("/uppy/s3/params?filename=a.jpg&type=image/jpeg").await.expect(200);
        }
    }
    client.small_file("a.txt").await;
    // The clients do not return. The space is released when the URLs expire, long before the uploads expire.
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

/// Gets the URL of a part, uploads the part and returns its ETag.
async fn put_part(client: &Client, begun: &Answer, number: u32, content: Vec<u8>) -> String {
    let path = format!("/uppy/s3/multipart/{}/{number}?key={}", begun.text("uploadId"), begun.text("key"));
    let url = client.get(&path).await.expect(200).text("url");
    let answer = Http::new().put(url).body(content).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_space_is_set_aside_as_parts_are_signed_and_what_is_charged_is_what_is_there() {
    let stack = Stack::start().await;
    let client = stack.client();
    let company = client.principal.company_id;
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let at_first = stack.reserved_bytes(company).await;
    assert!(at_first <= 8 << 20, "{at_first}");
    let parts = [bytes(920, 6 * MIB), bytes(921, 7)];
    let mut named = Vec::new();
    for (n, part) in (1..).zip(&parts) {
        let etag = put_part(&client, &begun, n, part.clone()).await;
        named.push(json!({ "PartNumber": n, "ETag": etag }));
    }
    assert!(stack.reserved_bytes(company).await > at_first);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    client.post(&complete, &json!({ "parts": named })).await.expect(200);
    client.file_with_status(&begun.text("file_id"), "COMPLETED").await;
    stack.nothing_reserved(company).await;
    let used = eventually("the space to be charged", || async {
        let quota = client.get("/v1/quota").await.expect(200).body;
        (quota["storage_used_bytes"] != 0).then(|| quota["storage_used_bytes"].clone())
    })
    .await;
    assert_eq!(used, json!(6 * MIB + 7));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_more_than_is_free_is_refused_when_it_is_known() {
    let stack = Stack::start().await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 8 << 20 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    let wanted = client.get("/uppy/s3/params?filename=a.bin").await.expect(200);
    let put = Http::new().put(wanted.text("url")).body(bytes(930, 9 * MIB)).send().await.unwrap();
    assert_eq!(put.status().as_u16(), 200, "the store does not check the quota");
    let id = wanted.text("file_id");
    let failed = eventually("the file to be refused", || async {
        let status = client.get(&format!("/v1/uploads/{id}")).await.expect(200).body;
        (status["status"] == "FAILED").then_some(status)
    })
    .await;
    assert_eq!(failed["error_code"], "quota_exceeded");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_a_completion_is_refused_if_its_parts_are_missing_wrong_or_unsorted() {
    let stack = Stack::start().await;
    let client = stack.client();
    let begun = client.post("/uppy/s3/multipart", &json!({ "filename": "a.bin" })).await.expect(200);
    let complete = format!("/uppy/s3/multipart/{}/complete?key={}", begun.text("uploadId"), begun.text("key"));
    let post = async |parts: Value| client.post(&complete, &json!({ "parts": parts })).await;
    post(json!([])).await.refused(400, "parts_invalid");
    post(json!([{ "PartNumber": 1, "ETag": "\"0\"" }])).await.refused(409, "part_missing");
    let first = json!({ "PartNumber": 1, "ETag": put_part(&client, &begun, 1, bytes(950, 5 * MIB)).await });
    let second = json!({ "PartNumber": 2, "ETag": put_part(&client, &begun, 2, bytes(951, 9)).await });
    let wrong = json!({ "PartNumber": 2, "ETag": "\"00000000000000000000000000000000\"" });
    let third = json!({ "PartNumber": 3, "ETag": second["ETag"] });
    post(json!([first, wrong])).await.refused(409, "part_missing");
    post(json!([first, second, third])).await.refused(409, "part_missing");
    let unsorted = post(json!([second, first])).await.refused(400, "parts_invalid");
    assert_eq!(unsorted.body["message"], unsorted.body["detail"], "F8: Uppy shows `message`");
    let other_method = client.request(Method::PUT, "/uppy/s3/sign").send().await.unwrap();
    assert_eq!((other_method.status().as_u16(), &other_method.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let done = post(json!([first, second])).await.expect(200);
    assert_eq!(post(json!([first, second])).await.expect(200).body, done.body, "the answer may have been lost");
    let other = format!("/uppy/s3/multipart/none/complete?key={}", begun.text("key"));
    client.post(&other, &json!({ "parts": [first] })).await.expect(200);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_two_files_with_the_same_requested_key_stay_two() {
    let stack = Stack::start().await;
    let client = stack.client();
    let sign = async |more: Value| {
        let mut body = json!({ "method": "PUT", "key": "2f1b0a6e-7a0b-4f3e-9d55-000000000000-photo.txt" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        client.post("/uppy/s3/sign", &body).await.expect(200)
    };
    let (first, second) = (sign(json!({})).await, sign(json!({ "size": 5 })).await);
    assert_ne!(first.text("key"), second.text("key"));
    for (signed, content) in [(&first, "first"), (&second, "later")] {
        let put = Http::new().put(signed.text("url")).body(content).send().await.unwrap();
        assert_eq!(put.status().as_u16(), 200);
    }
    for (signed, content) in [(first, "first"), (second, "later")] {
        let id = signed.text("key").split('/').nth(2).unwrap().to_owned();
        let file = client.file_with_status(&id, "COMPLETED").await;
        assert_eq!(file["original_name"], "photo.txt");
        assert!(client.content(&id).await == content.as_bytes());
    }
    stack.finish().await;
}
