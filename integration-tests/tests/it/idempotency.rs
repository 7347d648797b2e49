//! A request that a client repeats after a lost answer takes effect only once.

use reqwest::Method;
use serde_json::{Value, json};
use waybill_event_log::Bucket;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_schema::names;

async fn start(client: &Client, key: &str, body: &Value) -> Answer {
    let request = || client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", key).json(body);
    client.send_until_done(request).await
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
    // Keys belong to one user.
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

/// Sends the beginning of a file and disconnects.
fn break_off(stack: &Stack, client: &Client, key: &str, size: usize, sent: &[u8]) {
    let host = stack.url().strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "POST /v1/files?name=a.bin&mime_type=application/octet-stream HTTP/1.1\r\nHost: {host}\r\n\
         Authorization: Bearer {}\r\nIdempotency-Key: {key}\r\nContent-Length: {size}\r\n\r\n",
        client.token(),
    );
    std::io::Write::write_all(&mut socket, head.as_bytes()).unwrap();
    std::io::Write::write_all(&mut socket, sent).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_connection_broke_may_be_sent_again_with_its_key() {
    let stack = Stack::start().await;
    let client = stack.client();
    for (key, size) in [("small", 1_000_000), ("large", 9_000_000)] {
        let content = crate::random::bytes(60, size);
        break_off(&stack, &client, key, size, &content[..size / 2]);
        waybill_test_kit::eventually("the interrupted request to reserve its space", || async {
            (stack.reserved_bytes(client.principal.company_id).await > 0).then_some(())
        })
        .await;
        let post = || {
            let request = client.request(Method::POST, "/v1/files?name=a.bin&mime_type=application/octet-stream");
            client.send(request.header("Idempotency-Key", key).body(content.clone()))
        };
        let done = waybill_test_kit::eventually("the repeated request to succeed", || async {
            let answer = post().await;
            assert!(answer.status == 201 || answer.body["code"] == "superseded", "{answer:?}");
            (answer.status == 201).then_some(answer)
        })
        .await;
        assert_eq!(done.text("sha256"), crate::random::sha256(&content));
        assert!(client.content(&done.text("file_id")).await == content);
        stack.nothing_reserved(client.principal.company_id).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_files_are_charged_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let post = async |n: usize| {
        let key = format!("key-{}", n % 20);
        let request = || client.request(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain").body("hello");
        client.send_until_done(|| request().header("Idempotency-Key", &key)).await
    };
    let answers = futures_util::future::join_all((0..120).map(post)).await;
    for answer in answers {
        let _ = answer.expect(201);
    }
    stack.nothing_reserved(client.principal.company_id).await;
    stack.projected().await;
    let quota = client.get("/v1/quota").await.expect(200).body;
    assert_eq!((&quota["file_count"], &quota["storage_used_bytes"]), (&json!(20), &json!(100)));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_has_used_its_keys_takes_none_from_others() {
    let args = vec!["--idempotency-keys-per-company=5".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let body = json!({ "name": "a.bin", "size_bytes": 1, "mime_type": "text/plain" });
    let send = async |client: &Client, key: String| {
        client.send(client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", key).json(&body)).await
    };
    let first = send(&client, "key-0".to_owned()).await.expect(201).text("upload_id");
    for n in 1..5 {
        // A repeated key does not count.
        assert_eq!(send(&client, "key-0".to_owned()).await.expect(201).text("upload_id"), first);
        send(&client, format!("key-{n}")).await.expect(201);
    }
    let colleague = stack.client_for(client.principal.company_id, &[]);
    for user in [&client, &colleague] {
        send(user, "another".to_owned()).await.refused(429, "idempotency_keys_exhausted");
        let request = user.request(Method::POST, "/v1/uploads").header("Idempotency-Key", "another").json(&body);
        let refused = request.send().await.unwrap();
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((86_400..=90_000).contains(&wait), "{wait}");
    }
    // Earlier keys still work, and requests without a key are not affected.
    assert_eq!(send(&client, "key-0".to_owned()).await.expect(201).text("upload_id"), first);
    client.start(1).await.expect(201);
    let other = stack.client();
    for n in 0..5 {
        send(&other, format!("key-{n}")).await.expect(201);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h6_a_user_who_has_used_the_keys_takes_none_from_colleagues() {
    let args = vec!["--idempotency-keys-per-user=3".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let colleague = stack.client_for(client.principal.company_id, &[]);
    let body = json!({ "name": "a.bin", "size_bytes": 1, "mime_type": "text/plain" });
    let send = async |client: &Client, key: String| {
        client.send(client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", key).json(&body)).await
    };
    for n in 0..3 {
        send(&client, format!("key-{n}")).await.expect(201);
    }
    send(&client, "key-3".to_owned()).await.refused(429, "idempotency_keys_exhausted");
    send(&client, "key-0".to_owned()).await.expect(201);
    for n in 0..3 {
        send(&colleague, format!("key-{n}")).await.expect(201);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_midstate_leaves_nothing_behind() {
    let stack = Stack::start().await;
    let client = stack.client();
    let bucket = Bucket::open(&stack.nats().await, names::MIDSTATES_BUCKET).await.unwrap();
    let content = crate::random::bytes(61, 9_000_000);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    let (first, second) = content.split_at(8 << 20);
    client.put_chunk(&upload, 0, first.to_vec()).await.expect(200);
    client.put_chunk(&upload, 1, second.to_vec()).await.expect(200);
    assert!(bucket.room().await.unwrap().used_bytes > 0);
    client.complete(&upload, &json!({})).await.expect(200);
    waybill_test_kit::eventually("the midstate and its mark to be gone", || async {
        (bucket.room().await.unwrap().used_bytes == 0).then_some(())
    })
    .await;
    stack.finish().await;
}
