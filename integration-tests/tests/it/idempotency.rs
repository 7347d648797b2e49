//! A request that is sent again after a lost answer has its effect once.

use reqwest::Method;
use serde_json::{Value, json};
use waybill_integration_tests::{Answer, Client, Stack};

async fn start(client: &Client, key: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", key);
    client.send(request.json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_start_is_the_same_upload() {
    let stack = Stack::start().await;
    let client = stack.client();
    let body = json!({ "name": "a.bin", "size_bytes": 100, "mime_type": "text/plain" });
    let starts = futures_util::future::join_all((0..8).map(|_| start(&client, "key-1", &body))).await;
    let first = starts[0].text("upload_id");
    for answer in starts {
        assert_eq!(answer.expect(201).text("upload_id"), first);
    }
    assert_eq!(stack.reserved_bytes(client.principal.company_id).await, 100, "reserved once");
    client.put_chunk(&first, 0, vec![1; 100]).await.expect(200);
    client.complete(&first, &json!({})).await.expect(200);
    stack.nothing_reserved(client.principal.company_id).await;
    assert_eq!(start(&client, "key-1", &body).await.expect(201).text("upload_id"), first);
    stack.nothing_reserved(client.principal.company_id).await;

    let other = json!({ "name": "b.bin", "size_bytes": 100, "mime_type": "text/plain" });
    start(&client, "key-1", &other).await.refused(422, "idempotency_key_reused");
    assert_ne!(start(&client, "key-2", &body).await.expect(201).text("upload_id"), first);
    // Keys are the user's own.
    let colleague = stack.client_for(client.principal.company_id, &[]);
    assert_ne!(start(&colleague, "key-1", &body).await.expect(201).text("upload_id"), first);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_file_is_stored_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let post = || {
        let request = client.request(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain");
        client.send(request.header("Idempotency-Key", "k").body("hello"))
    };
    let first = post().await.expect(201).text("file_id");
    assert_eq!(post().await.expect(201).text("file_id"), first);
    stack.nothing_reserved(client.principal.company_id).await;
    stack.projected().await;
    let quota = client.get("/v1/quota").await.expect(200).body;
    assert_eq!((&quota["file_count"], &quota["storage_used_bytes"]), (&json!(1), &json!(5)));
    stack.finish().await;
}
