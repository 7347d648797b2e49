//! Extension `creation-with-upload`.

use super::{
    DEFERRED, OCTETS, OTHER_SUMS, SUMS, chunked, is_file, is_unchanged, offset_reaches, sha256_sum, with_args,
};
use crate::random::bytes;
use crate::speaker::{Speaker, answered};
use reqwest::Body;
use std::net::TcpStream;
use std::time::Duration;
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn cwu_3_5_6_the_first_bytes_may_come_with_the_creation() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_008, 1_000);
    let sum = sha256_sum(&content[..400]);
    // A part of the bytes; all bytes; with a checksum; without the lengths of the body and of the file.
    for (length, sent, sum) in [("1000", 400, None), ("1000", 1_000, None), ("1000", 400, Some(&sum)), ("", 400, None)]
    {
        let mut headers = vec![OCTETS, if length.is_empty() { DEFERRED } else { ("Upload-Length", length) }];
        headers.extend(sum.map(|sum| ("Upload-Checksum", sum.as_str())));
        let body = if length.is_empty() { chunked(&content[..sent]) } else { Body::from(content[..sent].to_vec()) };
        let created = tus.post(&headers, body).await.expect(201).with("Upload-Offset", &sent.to_string());
        let upload = created.location();
        tus.head(&upload).await.expect(200).with("Upload-Offset", &sent.to_string());
        if sent < content.len() {
            let rest = content[sent..].to_vec();
            tus.patch_with(&upload, sent, &[("Upload-Length", "1000")], rest).await.expect(204);
        }
        is_file(&tus, &upload, &content).await;
    }
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_3_checksum_4_5_bytes_of_a_creation_are_checked_like_those_of_a_patch() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let length = ("Upload-Length", "11");
    let sum = |sum| ("Upload-Checksum", sum);
    tus.post(&[OCTETS, length, sum("md5 XrY7u+Ae7tCTyyK7j1rNww==")], "hello world")
        .await
        .refused(400, "checksum_invalid");
    tus.post(&[OCTETS, length], "hello world!").await.refused(413, "size_exceeded");
    let refused = tus.post(&[OCTETS, length, sum(OTHER_SUMS[0])], "hello world").await.refused(460, "digest_mismatch");
    // The upload exists and has no bytes.
    let upload = refused.json()["upload_url"].as_str().unwrap().to_owned();
    is_unchanged(&tus, &upload, 0, 11).await;
    tus.patch_with(&upload, 0, &[sum(SUMS[0])], "hello world").await.expect(204);
    is_file(&tus, &upload, b"hello world").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_4_what_arrived_of_a_broken_creation_is_kept() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_009, 1_000_000);
    let headers = [OCTETS, ("Upload-Length", "1000000")];
    drop(tus.begin("POST", "/tus/", &headers, content.len(), &content[..123_456]));
    let upload = eventually("the upload to be there", || async {
        let files = tus.client.get("/v1/files?status=PENDING").await.expect(200);
        files.body["items"][0]["id"].as_str().map(|id| format!("/tus/{id}"))
    })
    .await;
    offset_reaches(&tus.client, &upload, 123_456).await;
    is_unchanged(&tus, &upload, 123_456, 1_000_000).await;
    tus.patch(&upload, 123_456, content[123_456..].to_vec()).await.expect(204);
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

/// tus does not define how a client finds an upload if the connection broke before the answer to the creation. Waybill
/// has `Idempotency-Key`.
#[tokio::test(flavor = "multi_thread")]
async fn cwu_4_a_broken_creation_is_found_again_by_its_key() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let key = ("Idempotency-Key", "mine");
    let first = tus.post(&[key, ("Upload-Length", "11")], "").await.expect(201).location();
    tus.patch(&first, 0, "hello").await.expect(204);
    let again = tus.post(&[key, ("Upload-Length", "11")], "").await.expect(201).location();
    assert_eq!(first, again);
    tus.post(&[key, ("Upload-Length", "12")], "").await.refused(422, "idempotency_key_reused");
    tus.patch(&again, 5, " world").await.expect(204);
    is_file(&tus, &again, b"hello world").await;
    stack.finish().await;
}

/// Returns the head of the final answer and skips `100 Continue`.
fn final_answer(socket: &mut TcpStream) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let first = answered(socket);
    if first.starts_with("HTTP/1.1 100") { answered(socket) } else { first }
}

#[tokio::test(flavor = "multi_thread")]
async fn cwu_7_who_waits_to_be_told_is_refused_before_the_first_byte() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let tus = Speaker::tus(stack.client());
    let expect = ("Expect", "100-continue");
    let mut too_long = tus.begin("POST", "/tus/", &[expect, OCTETS, ("Upload-Length", "1001")], 1_001, b"");
    assert!(final_answer(&mut too_long).starts_with("HTTP/1.1 413"));
    let mut wrong = tus.begin("POST", "/tus/", &[expect, ("Upload-Length", "10")], 10, b"");
    assert!(final_answer(&mut wrong).starts_with("HTTP/1.1 415"));
    let upload = tus.create(10).await;
    let mut elsewhere = tus.begin("PATCH", &upload, &[expect, OCTETS, ("Upload-Offset", "5")], 5, b"");
    assert!(final_answer(&mut elsewhere).starts_with("HTTP/1.1 409"));
    // Requests that are not refused get 100.
    let mut taken = tus.begin("PATCH", &upload, &[expect, OCTETS, ("Upload-Offset", "0")], 5, b"");
    taken.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(answered(&mut taken).starts_with("HTTP/1.1 100"));
    std::io::Write::write_all(&mut taken, b"hello").unwrap();
    assert!(answered(&mut taken).starts_with("HTTP/1.1 204"));
    is_unchanged(&tus, &upload, 5, 10).await;
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}
