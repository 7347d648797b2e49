//! Broken connections: every byte that arrived is kept, and the upload resumes after it.

use crate::random::{bytes, sha256};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use waybill_integration_tests::{Client, Options, Shape, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

const PART: usize = 8 * 1_024 * 1_024;

/// Sends the head of a chunk and the beginning of its body, and disconnects.
fn break_off(stack: &Stack, client: &Client, upload: &str, range: (usize, usize), total: usize, sent: &[u8]) {
    let host = stack.url().strip_prefix("http://").unwrap();
    let (from, to) = range;
    let mut socket = TcpStream::connect(host).unwrap();
    let head = format!(
        "PUT /v1/uploads/{upload}/chunks/{} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Range: bytes {from}-{}/{total}\r\nContent-Length: {}\r\n\r\n",
        from / PART,
        client.token(),
        to - 1,
        to - from,
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(sent).unwrap();
    socket.flush().unwrap();
}

async fn offset_reaches(client: &Client, upload: &str, offset: usize) -> Value {
    eventually(&format!("the offset to reach {offset}"), || async {
        let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
        (status.body["offset_bytes"].as_u64().unwrap() >= offset as u64).then_some(status.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_resumed_to_the_byte() {
    a_broken_chunk_is_resumed_to_the_byte_in(Shape::Together).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_resumed_to_the_byte_between_processes() {
    a_broken_chunk_is_resumed_to_the_byte_in(Shape::Apart).await;
}

async fn a_broken_chunk_is_resumed_to_the_byte_in(shape: Shape) {
    let stack = Stack::with(Options { shape, ..Options::default() }).await;
    let client = stack.client();
    let content = bytes(30, PART + 500_000);
    let total = content.len();
    let upload = client.start(total as u64).await.expect(201).text("upload_id");
    let mut from = 0;
    for sent in [1_234_567, 777_777, 1] {
        break_off(&stack, &client, &upload, (from, PART), total, &content[from..from + sent]);
        from += sent;
        let status = offset_reaches(&client, &upload, from).await;
        assert_eq!(status["offset_bytes"], from, "more bytes were recorded than were sent");
        assert_eq!(status["missing"], json!([[from, total]]));
    }
    let rest = client
        .request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"))
        .header("Content-Range", format!("bytes {from}-{}/{total}", PART - 1))
        .body(content[from..PART].to_vec());
    let stored = client.send(rest).await.expect(200);
    assert_eq!(stored.body["offset_bytes"], PART);
    let staged = format!("s/{}/", client.principal.company_id);
    assert!(stack.store().list(&staged).await.unwrap().is_empty(), "assembled pieces are still stored");
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    client.get_after(&format!("/v1/files/{upload}"), &done).await.expect(200);
    assert!(client.content(&upload).await == content);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_chunk_may_be_sent_again_after_a_break() {
    the_whole_chunk_may_be_sent_again_after_a_break_in(Shape::Together).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_chunk_may_be_sent_again_after_a_break_between_processes() {
    the_whole_chunk_may_be_sent_again_after_a_break_in(Shape::Apart).await;
}

async fn the_whole_chunk_may_be_sent_again_after_a_break_in(shape: Shape) {
    let stack = Stack::with(Options { shape, ..Options::default() }).await;
    let client = stack.client();
    let content = bytes(31, PART);
    let upload = client.start(PART as u64).await.expect(201).text("upload_id");
    break_off(&stack, &client, &upload, (0, PART), PART, &content[..3_000_000]);
    offset_reaches(&client, &upload, 3_000_000).await;
    client.put_chunk(&upload, 0, content.clone()).await.expect(200);
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    stack.nothing_reserved(client.principal.company_id).await;
    let staged = format!("s/{}/", client.principal.company_id);
    eventually("staged pieces to be deleted", || async {
        stack.store().list(&staged).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_outside_its_chunk_is_refused() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    for range in
        ["bytes 0-1000/1000", "bytes 5-4/1000", "bytes 0-9/999", "lines 0-9/1000", "bytes 0-18446744073709551615/1000"]
    {
        let put = client
            .request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"))
            .header("Content-Range", range)
            .body("0123456789");
        client.send(put).await.refused(400, "content_range_invalid");
    }
    stack.finish().await;
}
