//! Invalid names, executable files and idempotency keys with another body.

use crate::speaker::Speaker;
use reqwest::Method;
use serde_json::{Value, json};
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn row_19_invalid_names_are_refused_and_object_keys_contain_no_names() {
    let stack = Stack::start().await;
    let client = stack.client();
    let raw = r#"{"name":"a\ud800b","size_bytes":1,"mime_type":"text/plain"}"#;
    let request = client.request(Method::POST, "/v1/uploads").header("Content-Type", "application/json").body(raw);
    client.send(request).await.refused(422, "json_invalid");
    client.post_file("name=a%ED%A0%80b&mime_type=text/plain", "hello").await.refused(422, "name_invalid");
    let tus = Speaker::tus(client.clone());
    // ED A0 80, in base64.
    tus.post(&[("Upload-Length", "1"), ("Upload-Metadata", "filename 7aCA")], "").await.refused(422, "name_invalid");
    for name in ["..%2Fa", "%2Fetc%2Fpasswd", "a%00b", "a%5Cb", "a%E2%80%AEgpj.exe"] {
        client.post_file(&format!("name={name}&mime_type=text/plain"), "hello").await.refused(422, "name_invalid");
    }
    let long = "a".repeat(300);
    client.post_file(&format!("name={long}&mime_type=text/plain"), "hello").await.refused(422, "name_invalid");
    client.post_file("name=distinctive-name.txt&mime_type=text/plain", "hello").await.expect(201);
    use waybill_object_store::ObjectStore;
    let keys = stack.store().list("").await.unwrap();
    assert!(keys.iter().any(|key| key.contains(&client.principal.company_id.to_string())));
    assert!(keys.iter().all(|key| !key.contains("distinctive")), "{keys:?}");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_what_would_run_is_refused_whatever_it_is_called() {
    let stack = Stack::start().await;
    let client = stack.client();
    let elf = [&b"\x7fELF\x02\x01\x01\0"[..], &[0; 64]].concat();
    let windows = [&b"MZ\x90\0\x03\0\0\0"[..], &[0; 64]].concat();
    let script = b"#!/bin/sh\nrm -rf /\n".to_vec();
    for (bytes, name) in [(elf, "a.jpg"), (windows, "b.jpg"), (script, "c.jpg")] {
        let query = format!("name={name}&mime_type=image/jpeg");
        client.post_file(&query, bytes.clone()).await.refused(415, "type_refused");
        let tus = Speaker::tus(client.clone());
        let path = tus.create(bytes.len()).await;
        tus.patch(&path, 0, bytes).await.refused(422, "type_refused");
    }
    client.post_file("name=a.bin&mime_type=application/x-executable", "x").await.refused(415, "type_refused");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_key_with_other_bytes_is_refused() {
    let stack = Stack::start().await;
    let client = stack.client();
    let post = |body: &'static str| {
        client
            .request(Method::POST, "/v1/files?name=a&mime_type=text/plain")
            .header("Idempotency-Key", "one")
            .body(body)
    };
    let first = client.send(post("hello")).await.expect(201);
    let again = client.send(post("hello")).await.expect(201);
    assert_eq!(first.body["file_id"], again.body["file_id"]);
    client.send(post("other")).await.refused(422, "idempotency_key_reused");
    for (path, one, other) in [
        ("/v1/sessions", json!({ "name": "a" }), json!({ "name": "b" })),
        (
            "/v1/uploads",
            json!({ "name": "a", "size_bytes": 1, "mime_type": "text/plain" }),
            json!({ "name": "b", "size_bytes": 1, "mime_type": "text/plain" }),
        ),
    ] {
        let post = |body: &Value| client.request(Method::POST, path).header("Idempotency-Key", "two").json(body);
        client.send(post(&one)).await.expect(201);
        client.send(post(&one)).await.expect(201);
        client.send(post(&other)).await.refused(422, "idempotency_key_reused");
    }
    stack.finish().await;
}
