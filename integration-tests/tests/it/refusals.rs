//! Answers that the server sends before it has read the whole request. Clients that read only after sending everything
//! get them, too.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use waybill_integration_tests::{Client, Stack};

/// Size of a body that the server refuses, in bytes.
const BODY_BYTES: u64 = 20 * 1_024 * 1_024;

/// Sends the whole request and reads the answer only then. Returns the status and the error code. The answer must have
/// `Connection: close`.
fn answered(stack: &Stack, head: &str, is_chunked: bool) -> (u16, String) {
    let host = stack.url().strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let framing = if is_chunked { "Transfer-Encoding: chunked" } else { &format!("Content-Length: {BODY_BYTES}") };
    write!(socket, "{head}Host: {host}\r\n{framing}\r\n\r\n").unwrap();
    let mut block = vec![7; 64 * 1_024];
    if is_chunked {
        block.splice(0..0, *b"10000\r\n");
        block.extend(b"\r\n");
    }
    for _ in 0..BODY_BYTES / 65_536 {
        socket.write_all(&block).expect("the server closed the connection while the body was sent");
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("a reset of the connection lost the answer");
    drop(socket.shutdown(Shutdown::Both));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("\r\nconnection: close"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

async fn ended(client: &Client) -> String {
    let id = client.start(BODY_BYTES).await.expect(201).text("upload_id");
    client.delete(&format!("/v1/uploads/{id}")).await.expect(204);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a6_f1_a_refusal_reaches_a_client_that_sends_everything_first() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (gone, open) = (ended(&client).await, client.start(BODY_BYTES).await.expect(201).text("upload_id"));
    let few = stack.client();
    crate::quota::set_limit(&few, 1_000).await;
    let token = |client: &Client| format!("Authorization: Bearer {}\r\n", client.token());
    let (ours, theirs) = (token(&client), token(&few));
    let tus = "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n";
    let cases = [
        ("POST /v1/files?name=a.txt HTTP/1.1\r\n".to_owned(), (401, "token_missing")),
        (format!("POST /v1/files?name=a.exe HTTP/1.1\r\n{ours}"), (415, "type_refused")),
        (format!("POST /v1/files?name=a.txt HTTP/1.1\r\n{theirs}"), (413, "quota_exceeded")),
        (format!("PUT /v1/uploads/{open}/chunks/0 HTTP/1.1\r\n{ours}"), (413, "size_exceeded")),
        (format!("PATCH /tus/{gone} HTTP/1.1\r\n{ours}{tus}Upload-Offset: 0\r\n"), (410, "upload_ended")),
        (format!("PATCH /tus/{open} HTTP/1.1\r\n{ours}{tus}Upload-Offset: 5\r\n"), (409, "offset_mismatch")),
    ];
    for (head, (status, code)) in &cases {
        for is_chunked in [false; 20].into_iter().chain([true; 20]) {
            // Without a length the server cannot know early that the body is too large.
            if is_chunked && matches!(*code, "quota_exceeded" | "size_exceeded") {
                continue;
            }
            let answer = answered(&stack, head, is_chunked);
            assert_eq!(answer, (*status, (*code).to_owned()), "{}", head.lines().next().unwrap());
        }
    }
    client.delete(&format!("/v1/uploads/{open}")).await.expect(204);
    stack.finish().await;
}
