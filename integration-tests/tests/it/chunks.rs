//! Chunks in any order, in parallel, repeated, wrong, missing and too long.

use crate::random::{bytes, sha256};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use waybill_integration_tests::{Answer, Client, Stack};
use waybill_object_store::ObjectStore;

const PART: usize = 8 * 1_024 * 1_024;

fn content_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(Sha256::digest(bytes)))
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_parallel_and_repeated_chunks_are_the_right_file() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(20, 11 * PART + 12_345);
    let chunks: Vec<&[u8]> = content.chunks(PART).collect();
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    // Every chunk once in shuffled order, and every third chunk a second time.
    let order: Vec<usize> =
        (0..chunks.len()).map(|n| (n * 7 + 5) % chunks.len()).chain((0..chunks.len()).step_by(3)).collect();
    let mut puts = futures_util::stream::iter(order)
        .map(|index| client.put_chunk(&upload, index, chunks[index].to_vec()))
        .buffer_unordered(8);
    while let Some(answer) = puts.next().await {
        // If two requests for a chunk meet, the newer one takes over.
        assert!(answer.status == 200 || answer.body["code"] == "superseded", "{answer:?}");
    }
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.body["missing"], json!([]));
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    client.get_after(&format!("/v1/files/{upload}"), &done).await.expect(200);
    assert!(client.content(&upload).await == content);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_with_a_wrong_digest_is_refused_and_nothing_is_stored() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(21, 1_000);
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    let path = format!("/v1/uploads/{upload}/chunks/0");
    let put =
        |digest: String| client.request(Method::PUT, &path).header("Content-Digest", digest).body(content.clone());
    client.send(put(content_digest(b"other bytes"))).await.refused(400, "digest_mismatch");
    client.send(put("sha-256=nonsense".to_owned())).await.refused(400, "digest_invalid");
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!((&status.body["offset_bytes"], &status.body["missing"]), (&json!(0), &json!([[0, 1_000]])));
    assert_eq!(stack.store().list("").await.unwrap(), Vec::<String>::new());
    client.send(put(content_digest(&content))).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completion_with_a_hole_lists_what_is_missing() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(22, 3 * PART + 10);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    let last = client.put_chunk(&upload, 3, content[3 * PART..].to_vec()).await.expect(200);
    assert_eq!(last.body, json!({ "index": 3, "received_bytes": 10, "offset_bytes": PART }));
    let refused = client.complete(&upload, &json!({})).await.refused(409, "chunks_missing");
    assert_eq!(refused.body["missing"], json!([[PART, 3 * PART]]));
    assert_eq!(client.get(&format!("/v1/uploads/{upload}")).await.body["status"], "UPLOADING");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_than_declared_are_refused_at_the_crossing_byte() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, bytes(23, 1_001)).await.refused(413, "size_exceeded");
    // Without a length the server notices at the first byte past the limit.
    let pieces = futures_util::stream::iter([bytes(23, 600), bytes(24, 600)].map(Ok::<_, std::io::Error>));
    let answer = client.put_chunk(&upload, 0, reqwest::Body::wrap_stream(pieces)).await;
    let _ = answer.refused(413, "size_exceeded");
    client.put_chunk(&upload, 0, bytes(23, 999)).await.refused(400, "chunk_incomplete");
    client.put_chunk(&upload, 1, bytes(23, 1)).await.refused(400, "chunk_index_invalid");
    let status = client.get(&format!("/v1/uploads/{upload}")).await;
    assert_eq!(status.body["bytes_uploaded"], 0, "{status:?}");
    assert_eq!(stack.store().list("").await.unwrap(), Vec::<String>::new());
    let empty = client.start(0).await.expect(201).text("upload_id");
    client.put_chunk(&empty, 0, "x").await.refused(413, "size_exceeded");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_chunk_at_once_is_stored_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    for (seed, size) in [(27, 3), (28, 100_000)] {
        let content = bytes(seed, size);
        let upload = client.start(size as u64).await.expect(201).text("upload_id");
        let puts = (0..4).map(|_| client.put_chunk(&upload, 0, content.clone()));
        for answer in futures_util::future::join_all(puts).await {
            assert!(answer.status == 200 || answer.body["code"] == "superseded", "{answer:?}");
        }
        let done = client.complete(&upload, &json!({})).await.expect(200);
        assert_eq!(done.text("sha256"), sha256(&content));
        // The file is readable immediately, without `Waybill-Min-Position`.
        assert!(client.content(&upload).await == content);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_without_a_length_that_is_too_short_is_not_taken_for_whole() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    let pieces = futures_util::stream::iter([bytes(29, 600)].map(Ok::<_, std::io::Error>));
    let answer = client.put_chunk(&upload, 0, reqwest::Body::wrap_stream(pieces)).await;
    let refused = answer.refused(400, "chunk_incomplete");
    assert_eq!(refused.body["offset_bytes"], 600, "the bytes that arrived are not kept");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_for_a_stored_chunk_are_refused() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(25, PART + 1);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    client.put_chunk(&upload, 0, bytes(26, PART)).await.refused(409, "chunk_differs");
    client.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    // A stored chunk can be repeated after the completion.
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    stack.finish().await;
}

async fn put_piece(client: &Client, upload: &str, from: usize, bytes: &[u8], total: usize) -> Answer {
    let range = format!("bytes {from}-{}/{total}", from + bytes.len() - 1);
    let path = format!("/v1/uploads/{upload}/chunks/{}", from / PART);
    client.send(client.request(Method::PUT, &path).header("Content-Range", range).body(bytes.to_vec())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_for_a_stored_piece_are_refused() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (content, other) = (bytes(120, 2_000), bytes(121, 2_000));
    let upload = client.start(2_000).await.expect(201).text("upload_id");
    let put = async |from: usize, bytes: &[u8]| put_piece(&client, &upload, from, bytes, 2_000).await;
    put(0, &content[..1_000]).await.expect(200);
    put(0, &content[..1_000]).await.expect(200);
    put(0, &other[..1_000]).await.refused(409, "chunk_differs");
    // Bytes that overlap stored bytes are compared. If they differ, nothing of the request is stored.
    put(500, &other[500..1_500]).await.refused(409, "chunk_differs");
    put(200, &other[200..300]).await.refused(409, "chunk_differs");
    let mixed = [&other[..1_000], &content[1_000..]].concat();
    client.put_chunk(&upload, 0, mixed.clone()).await.refused(409, "chunk_differs");
    let digested = client.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"));
    let digested = digested.header("Content-Digest", content_digest(&mixed)).body(mixed);
    client.send(digested).await.refused(409, "chunk_differs");
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.body["missing"], json!([[1_000, 2_000]]));
    put(200, &content[200..300]).await.expect(200);
    put(500, &content[500..1_500]).await.expect(200);
    put(1_500, &content[1_500..]).await.expect(200);
    // The part is complete. The same bytes can be sent again, but no other bytes.
    put(1_500, &content[1_500..]).await.expect(200);
    put(1_500, &other[1_500..]).await.refused(409, "chunk_differs");
    client.put_chunk(&upload, 0, content.clone()).await.expect(200);
    client.put_chunk(&upload, 0, other.clone()).await.refused(409, "chunk_differs");
    let done = client.complete(&upload, &json!({})).await.expect(200);
    assert_eq!(done.text("sha256"), sha256(&content));
    put(1_500, &content[1_500..]).await.expect(200);
    put(1_500, &other[1_500..]).await.refused(409, "chunk_differs");
    stack.finish().await;
}
