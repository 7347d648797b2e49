//! Bad input and attacks that no other file tests. docs/threats.md maps its rows to tests.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use uuid::Uuid;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_test_kit::eventually;

/// Returns a token with this header and additional claims, and the signature of another token.
fn forged(client: &Client, header: &Value, claims: &Value) -> String {
    let good: Vec<&str> = client.token().split('.').collect();
    let mut body: Value = serde_json::from_slice(&BASE64URL.decode(good[1]).unwrap()).unwrap();
    body.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(&body), good[2])
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_1_to_3_a_token_is_good_or_401() {
    let stack = Stack::start().await;
    let client = stack.client();
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let with = |more: Value| {
        let mut header = hs256.clone();
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "HS384" }),
        with(json!({ "jku": url })),
        with(json!({ "x5u": url })),
        with(json!({ "jwk": { "kty": "oct", "k": "AAAA" } })),
        with(json!({ "kid": url })),
        with(json!({ "kid": "../../etc/passwd" })),
    ] {
        let stranger =
            Client::new(stack.url().to_owned(), forged(&client, &header, &json!({ "a": 1 })), client.principal.clone());
        stranger.get("/v1/files").await.refused(401, "token_invalid");
    }
    for claims in [
        json!({ "iss": "somebody" }),
        json!({ "aud": "else" }),
        json!({ "exp": "tomorrow" }),
        json!({ "sub": "nobody" }),
        json!({ "company_id": "none" }),
    ] {
        let stranger = Client::new(stack.url().to_owned(), forged(&client, &hs256, &claims), client.principal.clone());
        stranger.get("/v1/files").await.refused(401, "token_invalid");
    }
    assert!(listener.accept().is_err(), "the server connected to a URL of the token");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_5_and_32_sessions_and_cursors_of_another_company_and_forged_cursors_are_refused() {
    let stack = Stack::start().await;
    let (owner, stranger) = (stack.client(), stack.client());
    for name in ["a", "b", "c"] {
        owner.small_file(name).await;
    }
    let cursor = eventually("a second page", || async {
        owner.get("/v1/files?limit=1").await.expect(200).body["next_cursor"].as_str().map(str::to_owned)
    })
    .await;
    stranger.get(&format!("/v1/files?cursor={cursor}")).await.refused(400, "cursor_invalid");
    let other = if cursor.starts_with('_') { "-" } else { "_" };
    for forged in [format!("{cursor}A"), cursor.replacen(&cursor[..1], other, 1), "AAAA".to_owned()] {
        owner.get(&format!("/v1/files?cursor={forged}")).await.refused(400, "cursor_invalid");
    }
    let session = owner.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    stranger.start_with(1, json!({ "session_id": session })).await.refused(404, "not_found");
    stranger.delete(&format!("/v1/sessions/{session}")).await.refused(404, "not_found");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_8_and_9_a_known_digest_gives_no_access_and_does_not_reveal_existing_files() {
    let stack = Stack::start().await;
    let owner = stack.client();
    let file = owner.small_file("a.txt").await;
    let sha256 = file.text("sha256");
    owner.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    // A digest known to the company, to another company, and to nobody: Waybill always asks for the bytes and charges
    // them.
    let unknown = "0".repeat(64);
    let stranger = stack.client();
    for (client, sha256) in [(&owner, &sha256), (&stranger, &sha256), (&stranger, &unknown)] {
        let started = client.start_with(5, json!({ "sha256": sha256 })).await.expect(201);
        let upload = started.text("upload_id");
        let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
        assert_eq!((&status.body["status"], &status.body["missing"]), (&json!("PENDING"), &json!([[0, 5]])));
        client.complete(&upload, &json!({})).await.refused(409, "chunks_missing");
        let content = format!("/v1/files/{upload}/content");
        client.get_after(&content, &started).await.refused(409, "file_not_ready");
    }
    let quota = eventually("both to be reserved", || async {
        let quota = stranger.get("/v1/quota").await.expect(200).body;
        (quota["storage_reserved_bytes"] == 10).then_some(quota)
    })
    .await;
    assert_eq!(quota["storage_used_bytes"], 0);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_ranges_are_answered_and_never_multiplied() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let many = format!("bytes={}", vec!["0-0"; 5_000].join(","));
    // nginx refuses headers of this length.
    let of_many = if stack.is_behind_nginx() { 400 } else { 200 };
    for (range, status) in [
        (many.as_str(), of_many),
        ("bytes=3-1", 200),
        ("bytes=", 200),
        ("bytes=9-", 416),
        ("bytes=-0", 416),
        ("bytes=0-0", 206),
    ] {
        let request = client.request(Method::GET, &format!("/v1/files/{file}/content")).header("Range", range);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{}", &range[..range.len().min(20)]);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_15_and_16_a_client_that_guesses_tokens_is_limited_despite_forged_addresses() {
    let stack = Stack::start().await;
    let client = stack.client();
    let http = reqwest::Client::new();
    let mut statuses = Vec::new();
    for number in 0..150_u32 {
        let guess = format!("{}/d/{}", stack.url(), BASE64URL.encode([7_u8; 64]));
        let forged = format!("198.51.100.{}", number % 250);
        statuses.push(http.get(guess).header("X-Forwarded-For", forged).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[0], 404);
    assert_eq!(statuses.last(), Some(&429));
    // A user with a token is not affected by others with the same address.
    client.get("/v1/files").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_the_request_rate_of_a_user_is_limited_without_affecting_other_users() {
    let args = ["--rate-per-user=5", "--burst-per-user=10"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let (greedy, other) = (stack.client(), stack.client());
    let answers = join_all((0..60).map(|_| greedy.get("/v1/quota"))).await;
    // Some requests wait until the user has points again, and are then answered.
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((20..60).contains(&answered), "{answered}");
    let refused = answers.into_iter().find(|answer| answer.status == 429);
    assert_eq!(refused.expect("no request was refused").body["code"], "too_many_requests");
    other.get("/v1/quota").await.expect(200);
    eventually("the rate limit to allow requests again", || async {
        (greedy.get("/v1/quota").await.status == 200).then_some(())
    })
    .await;
    eventually("a list to be answered", || async { (greedy.get("/v1/files").await.status == 200).then_some(()) }).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_21_33_and_34_no_browser_runs_keeps_or_passes_on_what_it_gets() {
    let stack = Stack::start().await;
    let client = stack.client();
    let script = "<html><script>alert(1)</script></html>";
    for (name, mime_type, bytes) in [
        ("a.html", "text/html", script),
        ("a.png", "text/html", script),
        ("a.svg", "image/svg%2Bxml", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a.xml", "application/xml", "<?xml version='1.0'?><a/>"),
    ] {
        let posted = client.post_file(&format!("name={name}&mime_type={mime_type}"), bytes).await.expect(201);
        let path = format!("/v1/files/{}/content", posted.text("file_id"));
        let answer = client.request(Method::GET, &path).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-disposition").starts_with("attachment;"), "{name}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-security-policy").starts_with("sandbox"));
        assert_eq!(header("cache-control"), "private, no-store");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    for path in ["/v1/files", "/v1/quota", "/v1/nothing", "/healthz"] {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("no-store"), "{path}");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer", "{path}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_23_and_24_bodies_that_grow_are_refused_small() {
    let stack = Stack::start().await;
    let client = stack.client();
    let post = |body: Vec<u8>, encoding: Option<&str>| {
        let mut request = client.request(Method::POST, "/v1/uploads").header("Content-Type", "application/json");
        if let Some(encoding) = encoding {
            request = request.header("Content-Encoding", encoding);
        }
        request.body(body)
    };
    let elements = format!("[{}1]", "1,".repeat(1_000_000)).into_bytes();
    client.send(post(elements, None)).await.refused(413, "json_too_large");
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)).into_bytes();
    client.send(post(deep, None)).await.refused(400, "json_invalid");
    // Bodies are never decompressed, so compressed JSON is invalid.
    client.send(post(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0], Some("gzip"))).await.refused(400, "json_invalid");
    let upload = client.start(5).await.expect(201).text("upload_id");
    let encoded = client.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/0"));
    client.send(encoded.header("Content-Encoding", "gzip").body("hello")).await.refused(415, "encoding_refused");
    stack.finish().await;
}

/// Sends a raw request and returns the beginning of the answer, or nothing if it does not arrive in time. Then closes
/// the connection.
pub(crate) fn raw_answer(stack: &Stack, request: &str, within: Duration) -> String {
    let mut socket = TcpStream::connect(stack.url().trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(within)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 256];
    let length = socket.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Sends a raw request and returns the beginning of the answer.
fn raw(stack: &Stack, head: &str) -> String {
    let mut socket = TcpStream::connect(stack.url().trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let sent = socket.write_all(head.as_bytes());
    let mut answer = vec![0; 256];
    let length = socket.read(&mut answer).unwrap_or(0);
    drop(sent);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_24_and_26_heads_that_can_be_read_in_two_ways_or_never_end_are_refused() {
    let stack = Stack::start().await;
    let both =
        "POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(raw(&stack, both).starts_with("HTTP/1.1 400"), "{}", raw(&stack, both));
    let two_lengths = "POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello";
    assert!(raw(&stack, two_lengths).starts_with("HTTP/1.1 400"));
    let two_hosts = "GET /v1/files HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    assert!(raw(&stack, two_hosts).starts_with("HTTP/1.1 400"), "{}", raw(&stack, two_hosts));
    let long = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "a".repeat(1_000_000));
    let answer = raw(&stack, &long);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = stack.client().get("/healthz").await;
    assert_eq!(answer.status, 200, "the server still answers");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_in_the_audit_trail_with_who_where_and_why() {
    let stack = Stack::start().await;
    let auditor = stack.client();
    let user = stack.client_for(auditor.principal.company_id, &[]);
    let nothing = Uuid::now_v7();
    user.get(&format!("/v1/files/{nothing}")).await.refused(404, "not_found");
    user.start_with(1, json!({ "name": "../a" })).await.refused(422, "name_invalid");
    let id = user.principal.user_id;
    let found = eventually("the refusals to be kept", || async {
        let found = auditor.get(&format!("/v1/audit?refusals=true&actor={id}")).await.expect(200);
        (found.body["items"].as_array().unwrap().len() == 2).then_some(found)
    })
    .await;
    let first = &found.body["items"][0];
    assert_eq!((&first["status"], &first["code"]), (&json!(404), &json!("not_found")));
    assert_eq!((&first["actor"], &first["address"]), (&json!(format!("user:{id}")), &json!("127.0.0.1")));
    assert_eq!(first["path"], format!("/v1/files/{nothing}"));
    let by_file = auditor.get(&format!("/v1/audit?refusals=true&file_id={nothing}")).await.expect(200);
    assert_eq!(by_file.body["items"].as_array().unwrap().len(), 1);
    user.get("/v1/audit?refusals=true").await.refused(403, "role_required");
    // Events are found by actor, kind and time. Each has the address of the client.
    user.small_file("a.txt").await;
    let of_user = auditor.get(&format!("/v1/audit?actor={id}&kind=FileUploaded")).await.expect(200);
    let items = of_user.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0]["address"], "127.0.0.1");
    let later = auditor.get("/v1/audit?since=2999-01-01T00:00:00Z").await.expect(200);
    assert_eq!(later.body["items"], json!([]));
    stack.finish().await;
}
