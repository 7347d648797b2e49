//! Direct uploads: clients send bytes to the store through presigned URLs, in the native protocol and in Uppy mode.

use crate::random::{bytes, sha256};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::stream::{self, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::{eventually, eventually_within};

const PART: usize = 8 * 1_024 * 1_024;

pub(crate) fn to_sign(content: &[u8]) -> Value {
    let part = |(index, part): (usize, &[u8])| {
        let checksum = format!("sha256 {}", BASE64.encode(Sha256::digest(part)));
        json!({ "part_number": index + 1, "size_bytes": part.len(), "checksum": checksum })
    };
    content.chunks(PART).enumerate().map(part).collect()
}

pub(crate) async fn start(client: &Client, size_bytes: usize, more: Value) -> String {
    let mut body = json!({ "mode": "direct" });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    client.start_with(size_bytes as u64, body).await.expect(201).text("upload_id")
}

pub(crate) async fn sign(client: &Client, upload: &str, parts: Value) -> Vec<Value> {
    let signed = client.post(&format!("/v1/uploads/{upload}/parts/sign"), &json!({ "parts": parts })).await.expect(200);
    signed.body["parts"].as_array().unwrap().clone()
}

/// Sends bytes to a presigned URL, without a token.
async fn attempt(signed: &Value, bytes: &[u8]) -> reqwest::Result<reqwest::Response> {
    let mut request = reqwest::Client::new().put(signed["url"].as_str().unwrap()).body(bytes.to_vec());
    for (name, value) in signed["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    request.send().await
}

async fn put(signed: &Value, bytes: &[u8]) -> reqwest::Response {
    attempt(signed, bytes).await.unwrap()
}

/// Returns `true` if the store refuses the bytes. Some stores close the connection before they have read the body.
async fn is_refused(signed: &Value, bytes: &[u8]) -> bool {
    attempt(signed, bytes).await.map_or(true, |answer| answer.status() != StatusCode::OK)
}

pub(crate) async fn stored(signed: &Value, bytes: &[u8]) -> Value {
    let answer = put(signed, bytes).await;
    assert_eq!(answer.status(), StatusCode::OK);
    json!({ "part_number": signed["part_number"], "etag": answer.headers()["ETag"].to_str().unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_store_and_the_file_is_verified() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(800, 2 * PART + 1_234);
    let upload = start(&client, content.len(), json!({ "sha256": sha256(&content) })).await;
    let signed = sign(&client, &upload, to_sign(&content)).await;
    let report = format!("/v1/uploads/{upload}/parts");
    let mut parts = Vec::new();
    for (signed, part) in signed.iter().zip(content.chunks(PART)) {
        parts.push(stored(signed, part).await);
    }
    client.post(&report, &parts[2]).await.expect(200);
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.body["missing"], json!([[0, 2 * PART]]), "the reported part is not recorded");
    let reported = client.post(&report, &json!({ "parts": &parts[..2] })).await.expect(200);
    assert_eq!(reported.body["offset_bytes"], content.len());
    client.post(&report, &json!({ "parts": parts })).await.expect(200);
    assert_eq!(
        client.get(&format!("/v1/files/{upload}/content")).await.status,
        409,
        "the file is readable before it was verified"
    );
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    client.get_after(&format!("/v1/files/{upload}"), &done).await.expect(200);
    assert!(client.content(&upload).await == content);
    // The URL has not expired, but the store refuses it.
    assert!(is_refused(&signed[0], &content[..PART]).await);
    assert!(client.content(&upload).await == content);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_takes_only_what_was_announced() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(801, 100_000);
    let upload = start(&client, content.len(), json!({})).await;
    let signed = sign(&client, &upload, to_sign(&content)).await;
    let mut longer = content.clone();
    longer.push(0);
    assert!(is_refused(&signed[0], &longer).await, "the store accepted one byte more");
    assert!(is_refused(&signed[0], &content[1..]).await, "the store accepted one byte less");
    let mut without = signed[0].clone();
    without["headers"] = json!({});
    assert!(is_refused(&without, &content).await, "the store accepted a part without the checksum");

    let sign = format!("/v1/uploads/{upload}/parts/sign");
    let part = |number: u32, size: usize, checksum: &str| json!({ "parts": [{ "part_number": number, "size_bytes": size, "checksum": checksum }] });
    let sum = format!("sha256 {}", BASE64.encode([1; 32]));
    client.post(&sign, &part(2, content.len(), &sum)).await.refused(400, "parts_invalid");
    client.post(&sign, &part(0, content.len(), &sum)).await.refused(400, "parts_invalid");
    client.post(&sign, &part(1, content.len() + 1, &sum)).await.refused(400, "parts_invalid");
    client.post(&sign, &part(1, content.len(), "md5 AAAA")).await.refused(400, "checksum_invalid");
    client.post(&sign, &json!({ "parts": [] })).await.refused(400, "parts_invalid");
    let report = format!("/v1/uploads/{upload}/parts");
    client.post(&report, &json!({ "part_number": 1, "etag": "\"abc\"" })).await.refused(409, "part_missing");
    let stranger = stack.client();
    stranger.post(&sign, &part(1, content.len(), &sum)).await.refused(404, "not_found");
    let usual = client.start(10).await.expect(201).text("upload_id");
    client.post(&format!("/v1/uploads/{usual}/parts/sign"), &part(1, 10, &sum)).await.refused(409, "upload_kind");
    client.put_chunk(&upload, 0, content.clone()).await.refused(409, "upload_kind");
    client.delete(&format!("/v1/uploads/{upload}")).await.expect(204);
    client.delete(&format!("/v1/uploads/{usual}")).await.expect(204);
    client.post(&sign, &part(1, content.len(), &sum)).await.refused(410, "upload_ended");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_compares_a_part_with_each_kind_of_checksum() {
    let stack = Stack::start().await;
    let client = stack.client();
    let checksums = [
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
        "crc32 DUoRhQ==",
        "crc32c yZRlqg==",
    ];
    for checksum in checksums {
        let upload = start(&client, 11, json!({})).await;
        let part = json!([{ "part_number": 1, "size_bytes": 11, "checksum": checksum }]);
        let signed = sign(&client, &upload, part).await;
        assert_eq!(put(&signed[0], b"hello_world").await.status(), StatusCode::BAD_REQUEST, "{checksum}");
        stored(&signed[0], b"hello world").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_replaced_after_its_report_is_never_read_as_if_it_were_not() {
    let stack = Stack::start().await;
    let client = stack.client();
    for reported_again in [false, true] {
        let content = bytes(802, PART + 7);
        let mut other = content.clone();
        other[100] ^= 1;
        let upload = start(&client, content.len(), json!({})).await;
        let report = format!("/v1/uploads/{upload}/parts");
        let first = sign(&client, &upload, to_sign(&content)).await;
        let parts = vec![stored(&first[0], &content[..PART]).await, stored(&first[1], &content[PART..]).await];
        client.post(&report, &json!({ "parts": parts })).await.expect(200);
        let second = sign(&client, &upload, to_sign(&other)).await;
        let replaced = stored(&second[0], &other[..PART]).await;
        if reported_again {
            client.post(&report, &replaced).await.expect(200);
            // Some stores list every write of a part, and it is unclear which one is used. The file is then refused.
            let done = client.complete(&upload, &json!({ "sha256": sha256(&other) })).await;
            if done.status == 200 {
                client.get_after(&format!("/v1/files/{upload}"), &done).await.expect(200);
                assert!(client.content(&upload).await == other);
            } else {
                done.refused(422, "parts_differ");
            }
        } else {
            client.complete(&upload, &json!({})).await.refused(422, "parts_differ");
        }
    }
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

async fn create_for_uppy(client: &Client, metadata: Value) -> (String, String, String) {
    let body = json!({ "filename": "a.bin", "type": "application/octet-stream", "metadata": metadata });
    let created = client.post("/uppy/s3/multipart", &body).await.expect(200);
    (created.text("uploadId"), created.text("key"), created.text("file_id"))
}

async fn put_uppy_part(client: &Client, (upload, key): (&str, &str), number: usize, part: &[u8]) -> Value {
    let signed = client.get(&format!("/uppy/s3/multipart/{upload}/{number}?key={key}")).await.expect(200);
    let answer = reqwest::Client::new().put(signed.text("url")).body(part.to_vec()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    json!({ "PartNumber": number, "ETag": answer.headers()["ETag"].to_str().unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_can_still_write_to_is_read() {
    let args =
        ["--upload-url-lifetime-s=20", "--expiry-grace-s=0", "--worker-sweep-ms=200"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let content = bytes(803, 6_000_000);
    let query = format!("filename=a.bin&type=application/octet-stream&metadata%5Bsize%5D={}", content.len());
    let params = client.get(&format!("/uppy/s3/params?{query}")).await.expect(200);
    let put = async |bytes: &[u8]| {
        let request = reqwest::Client::new().put(params.text("url")).body(bytes.to_vec());
        request.send().await.unwrap().status()
    };
    assert_eq!(put(&content).await, StatusCode::OK);
    let id = params.text("file_id");
    let file = client.file_with_status(&id, "COMPLETED").await;
    assert_eq!(file["hash"], sha256(&content));
    // A reaction then deletes the object that was copied.
    stack.settled().await;
    // The URL is still valid. It writes to another object than the one that is read, and that object is deleted after
    // the URL has expired.
    assert_eq!(put(&bytes(804, content.len())).await, StatusCode::OK);
    assert!(client.content(&id).await == content);
    let prefix = format!("q/{}/", client.principal.company_id);
    assert_eq!(stack.store().list(&prefix).await.unwrap().len(), 1);
    eventually_within(Duration::from_secs(60), "the late object to be deleted", || async {
        stack.store().list(&prefix).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert!(client.content(&id).await == content);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_what_was_reserved_ends_the_upload() {
    let stack = Stack::start().await;
    let client = stack.client();
    let part = bytes(805, 5 * 1_024 * 1_024);
    let (upload, key, file) = create_for_uppy(&client, json!({ "size": "6000000" })).await;
    put_uppy_part(&client, (&upload, &key), 1, &part).await;
    put_uppy_part(&client, (&upload, &key), 2, &part).await;
    client.get(&format!("/uppy/s3/multipart/{upload}/3?key={key}")).await.refused(413, "size_exceeded");
    client.get(&format!("/uppy/s3/multipart/{upload}?key={key}")).await.refused(410, "upload_ended");
    let status = client.get(&format!("/v1/uploads/{file}")).await.expect(200);
    assert_eq!(status.text("status"), "CANCELLED");
    stack.nothing_reserved(client.principal.company_id).await;
    let prefix = format!("q/{}/", client.principal.company_id);
    eventually("the parts to be gone", || async {
        stack.store().list_multiparts(&prefix).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_one_multipart_upload_at_a_time() {
    let stack = Stack::start().await;
    let client = stack.client();
    let part = bytes(806, 5 * 1_024 * 1_024);
    let sign = async |body: Value| client.post("/uppy/s3/sign", &body).await.expect(200);
    let begin = json!({ "method": "POST", "key": "mine", "name": "a.bin", "size": part.len() });
    let begun = sign(begin).await;
    let (url, key) = (begun.text("url"), begun.text("key"));
    // The URL can be used several times. Each multipart upload could hold as many bytes as are reserved.
    for _ in 0..2 {
        assert_eq!(reqwest::Client::new().post(&url).send().await.unwrap().status(), StatusCode::OK);
    }
    let open = stack.store().list_multiparts(&key).await.unwrap();
    let [(_, first), (_, second)] = open.as_slice() else { panic!("{open:?}") };
    for (upload_id, other) in [(first, second), (second, first)] {
        let sign_part = json!({ "method": "PUT", "key": key, "uploadId": upload_id, "partNumber": 1 });
        if upload_id == first {
            sign(sign_part).await;
            assert_eq!(stack.store().list_multiparts(&key).await.unwrap(), [(key.clone(), first.clone())], "{other}");
        } else {
            client.post("/uppy/s3/sign", &sign_part).await.refused(404, "not_found");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_answer_was_lost_is_answered_again() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(807, 5 * 1_024 * 1_024 + 1);
    let (upload, key, file) = create_for_uppy(&client, json!({ "size": content.len().to_string() })).await;
    let (first, rest) = content.split_at(5 * 1_024 * 1_024);
    let parts = json!([
        put_uppy_part(&client, (&upload, &key), 1, first).await,
        put_uppy_part(&client, (&upload, &key), 2, rest).await,
    ]);
    let complete = format!("/uppy/s3/multipart/{upload}/complete?key={key}");
    for _ in 0..2 {
        let done = client.post(&complete, &json!({ "parts": parts })).await.expect(200);
        assert_eq!(done.text("file_id"), file);
    }
    assert!(client.content(&file).await == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_uploads_without_objects_do_not_delay_the_completion_of_other_uploads() {
    let stack = Stack::start().await;
    let client = stack.client();
    // More uploads than a partition delivers events at once.
    let sign = |n: usize| {
        let sign = json!({ "method": "PUT", "key": format!("never-{n}"), "name": "a.bin", "size": 1 });
        let client = &client;
        async move {
            let request = || client.request(Method::POST, "/uppy/s3/sign").json(&sign);
            client.send_until_done(request).await.expect(200)
        }
    };
    stream::iter(0..1_100).map(sign).buffer_unordered(32).for_each(async |_| {}).await;
    let other = stack.client();
    let content = bytes(808, PART + 1);
    let upload = other.start(content.len() as u64).await.expect(201).text("upload_id");
    other.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    other.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    let done = other.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_routes_do_not_find_uploads_of_other_companies() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (upload, key, _) = create_for_uppy(&client, json!({})).await;
    let reserved = stack.reserved_bytes(client.principal.company_id).await;
    assert_eq!(reserved, 5 << 20, "reservation of an upload without a declared size");
    let stranger = stack.client();
    for path in [format!("/uppy/s3/multipart/{upload}?key={key}"), format!("/uppy/s3/multipart/{upload}/1?key={key}")] {
        stranger.get(&path).await.refused(404, "not_found");
        client.get(&path).await.expect(200);
    }
    client.get(&format!("/uppy/s3/multipart/{upload}?key=o/x/y")).await.refused(404, "not_found");
    stranger.delete(&format!("/uppy/s3/multipart/{upload}?key={key}")).await.refused(404, "not_found");
    let aborted = client.delete(&format!("/uppy/s3/multipart/{upload}?key={key}")).await.expect(200);
    assert_eq!(aborted.body, json!({}), "Uppy reads JSON");
    stack.nothing_reserved(client.principal.company_id).await;
    let url = format!("{}/uppy/s3/sign", stack.url());
    let without_token = reqwest::Client::new().post(url).json(&json!({ "method": "PUT", "key": "a" })).send().await;
    assert_eq!(without_token.unwrap().status(), StatusCode::UNAUTHORIZED);
    stack.finish().await;
}
