//! Uploads that are refused before the first byte, without leaving a reservation.

use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::{Options, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn invalid_starts_of_uploads_are_refused_before_any_byte_is_sent() {
    let stack = Stack::start().await;
    let client = stack.client();
    let ten_gib: u64 = 10 << 30;
    client.start(ten_gib + 1).await.refused(413, "file_too_large");
    let accepted = client.start(ten_gib).await.expect(201);
    assert_eq!(accepted.body["total_chunks"], 1_280);
    client.delete(&format!("/v1/uploads/{}", accepted.text("upload_id"))).await.expect(204);

    let long = "x".repeat(300);
    for name in ["../etc/passwd", "a/b", "a\\b", "a%2fb", "a\u{0}b", "/abs", "", "a\u{202e}b", &long] {
        client.start_with(1, json!({ "name": name })).await.refused(422, "name_invalid");
    }
    for mime_type in ["application/x-msdownload", "image/png\r\nX: y"] {
        client.start_with(1, json!({ "mime_type": mime_type })).await.refused(415, "type_refused");
    }
    client.start_with(1, json!({ "sha256": "abc" })).await.refused(422, "digest_invalid");
    client.start_with(1, json!({ "unknown": 1 })).await.refused(400, "json_invalid");
    client.start_with(1, json!({ "size_bytes": -1 })).await.refused(400, "json_invalid");
    client.start_with(1, json!({ "metadata": { "a": "x".repeat(9_000) } })).await.refused(413, "metadata_too_large");
    let someone = uuid::Uuid::now_v7();
    client.start_with(1, json!({ "chatroom_id": someone })).await.refused(404, "not_found");
    client.start_with(1, json!({ "thread_id": someone })).await.refused(404, "not_found");
    client.start_with(1, json!({ "session_id": someone })).await.refused(404, "not_found");
    let huge = json!({ "name": "x".repeat(100_000) });
    client.start_with(1, huge).await.refused(413, "json_too_large");

    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_one_request_has_the_same_limits() {
    let stack = Stack::start().await;
    let client = stack.client();
    client.post_file("name=..%2Fa&mime_type=text/plain", "x").await.refused(422, "name_invalid");
    client.post_file("name=a&mime_type=application/x-sh", "x").await.refused(415, "type_refused");
    client.post_file("mime_type=text/plain", "x").await.refused(400, "query_invalid");
    let wrong = "0".repeat(64);
    let query = format!("name=a&mime_type=text/plain&sha256={wrong}");
    client.post_file(&query, "x").await.refused(400, "digest_mismatch");
    let program = [b"\x7fELF\x02\x01\x01\0".to_vec(), vec![0; 100]].concat();
    client.post_file("name=a.png&mime_type=image/png", program).await.refused(415, "type_refused");
    let encoded = client
        .request(Method::POST, "/v1/files?name=a&mime_type=text/plain")
        .header("Content-Encoding", "gzip")
        .body("x");
    client.send(encoded).await.refused(415, "encoding_refused");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_a_limit_of_its_own() {
    let args = vec!["--max-session-bytes=1000".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let of_session = json!({ "session_id": session });
    let first = client.start_with(600, of_session.clone()).await.expect(201).text("upload_id");
    let refused = client.start_with(401, of_session.clone()).await.refused(413, "session_too_large");
    assert_eq!(refused.body["limit_bytes"], 1_000);
    client.start_with(400, of_session.clone()).await.expect(201);
    client.start_with(1, of_session.clone()).await.refused(413, "session_too_large");
    // Cancelled uploads no longer count.
    client.delete(&format!("/v1/uploads/{first}")).await.expect(204);
    waybill_test_kit::eventually("the cancelled upload's space to be free", || async {
        (client.start_with(600, of_session.clone()).await.status == 201).then_some(())
    })
    .await;
    stack.finish().await;
}
