//! Slow clients, ambiguous requests and guesses behind a proxy.

use super::socket_to;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use waybill_http_kit::Principal;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_schema::Timestamp;
use waybill_test_kit::eventually;

/// Reads until the server closes the connection.
fn all_of(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a JSON body, the body of a chunk and a head one byte at a time, and starts a download without reading it.
#[tokio::test(flavor = "multi_thread")]
async fn row_25_connections_of_slow_clients_are_closed_and_their_uploads_can_continue() {
    let stack = Stack::start().await;
    let client = stack.client();
    let url = stack.url().to_owned();
    let head = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{more}\r\n", client.token())
    };
    // Eight bytes in all, with pauses of 10 s. The test measures after which time the server closes the connection.
    let trickle = |head: String| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let mut socket = socket_to(&url);
            socket.write_all(head.as_bytes()).unwrap();
            let began = Instant::now();
            let mut writer = socket.try_clone().unwrap();
            let writing = std::thread::spawn(move || {
                for _ in 0..8 {
                    if writer.write_all(b" ").is_err() {
                        return;
                    }
                    std::thread::park_timeout(Duration::from_secs(10));
                }
            });
            let answer = all_of(socket);
            writing.thread().unpark();
            (answer, began.elapsed())
        })
    };
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    let json = trickle(head("POST", "/v1/uploads", "Content-Type: application/json\r\nContent-Length: 1000\r\n"));
    let path = format!("/v1/uploads/{upload}/chunks/0");
    let chunk = trickle(head("PUT", &path, "Content-Length: 1000\r\n"));
    let slow_head = trickle("GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ".to_owned());
    let kept_alive = trickle("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nX-A: ".to_owned());
    let unread = {
        let big = client.post_file("name=big&mime_type=application/octet-stream", vec![7; 64 << 20]).await.expect(201);
        let head = head("GET", &format!("/v1/files/{}/content", big.text("file_id")), "");
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let mut socket = socket_to(&url);
            socket.write_all(head.as_bytes()).unwrap();
            socket
        })
    };
    let (answer, took) = json.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
    assert!(took < Duration::from_secs(45), "{took:?}");
    let (answer, took) = chunk.await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let (answer, took) = slow_head.await.unwrap();
    // nginx closes the connection without an answer.
    let is_closed = answer.starts_with("HTTP/1.1 408") || (stack.is_behind_nginx() && answer.is_empty());
    assert!(is_closed && took < Duration::from_secs(30), "{took:?} {answer}");
    let (answer, took) = kept_alive.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && took < Duration::from_secs(40), "{took:?} {answer}");
    // The client begins to read long after the server gave up. The rest of the file is missing.
    let socket = unread.await.unwrap();
    let read = tokio::task::spawn_blocking(move || {
        std::thread::park_timeout(Duration::from_secs(75));
        let mut socket = socket;
        let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
        while let Ok(length @ 1..) = socket.read(&mut buffer) {
            total += length;
        }
        total
    });
    assert!(read.await.unwrap() < 64 << 20);
    // The chunk can be sent again.
    client.put_chunk(&upload, 0, vec![b' '; 1_000]).await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_nothing_is_read_behind_a_request_of_two_meanings() {
    let stack = Stack::start().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, body) in [
        (
            "POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\n\r\n",
        ),
        ("POST /v1/uploads HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "hello"),
        ("GET /v1/files HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", ""),
    ] {
        let url = stack.url().to_owned();
        let request = format!("{head}{body}{smuggled}");
        let answer = tokio::task::spawn_blocking(move || {
            let mut socket = socket_to(&url);
            socket.write_all(request.as_bytes()).unwrap();
            all_of(socket)
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_an_ipv6_network_behind_a_trusted_proxy_is_limited_as_one_client() {
    let args = vec!["--trusted-proxies=127.0.0.1/32".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let http = reqwest::Client::new();
    let guess = async |address: String| {
        let url = format!("{}/d/{}", stack.url(), "A".repeat(86));
        http.get(url).header("X-Forwarded-For", address).send().await.unwrap().status().as_u16()
    };
    let mut last = 0;
    for number in 0..150 {
        last = guess(format!("2001:db8:1:2::{number:x}")).await;
    }
    assert_eq!(last, 429);
    assert_eq!(guess("2001:db8:1:3::1".to_owned()).await, 404);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m3_h10_strangers_can_neither_ask_for_readiness_nor_keep_probes_away() {
    let args = vec!["--ops-addr=127.0.0.1:0".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let status = |url: String| async move { reqwest::get(url).await.unwrap().status().as_u16() };
    for path in ["/readyz", "/metrics"] {
        assert_eq!(status(format!("{}{path}", stack.url())).await, 404, "{path} is public");
        assert_eq!(status(format!("{}{path}", stack.ops_url())).await, 200, "{path} is not served");
    }
    // An address that guesses tokens is blocked, but not its probes and not users with a token.
    let client = stack.client();
    let stranger = Client::new(stack.url().to_owned(), "AAAA".to_owned(), client.principal.clone());
    eventually("the address to be blocked", || async { (stranger.get("/v1/files").await.status == 429).then_some(()) })
        .await;
    assert_eq!(status(format!("{}/healthz", stack.url())).await, 200);
    client.get("/v1/quota").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_expired_tokens_of_an_office_do_not_block_its_address() {
    let stack = Stack::start().await;
    let client = stack.client();
    let old = Principal { expires_at: Timestamp(1_000_000_000_000), ..client.principal.clone() };
    let expired = Client::new(stack.url().to_owned(), stack.token(&old), old);
    for _ in 0..150 {
        expired.get("/v1/files").await.refused(401, "token_invalid");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m3_the_openapi_document_is_cached_by_everybody() {
    let stack = Stack::start().await;
    let http = reqwest::Client::new();
    let document = http.get(format!("{}/openapi.json", stack.url())).send().await.unwrap();
    let header = |name: &str| document.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "public, max-age=300");
    let again = http.get(format!("{}/openapi.json", stack.url())).header("If-None-Match", header("etag"));
    assert_eq!(again.send().await.unwrap().status(), 304);
    stack.finish().await;
}
