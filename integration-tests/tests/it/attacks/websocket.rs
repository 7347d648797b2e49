//! Oversized frames, subscribers that never read, and invalid positions.

use super::socket_to;
use crate::socket::{next, send, with_token};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use waybill_integration_tests::{Client, Stack};

/// Opens a WebSocket on a raw connection, for frames that no library would send.
fn raw_socket(stack: &Stack, client: &Client) -> TcpStream {
    let mut socket = socket_to(stack.progress_url());
    let head = format!(
        "GET /v1/progress HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        client.token()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_frame_of_a_gibibyte_and_endless_continuations_are_1009() {
    let stack = Stack::start().await;
    let client = stack.client();
    client.small_file("a").await;
    let gibibyte = [&[0x81, 0x80 | 127][..], &(1_u64 << 30).to_be_bytes(), &[0; 4], &[0; 4_096]].concat();
    let mut continued = vec![0x01, 0x80, 0, 0, 0, 0];
    (0..10_000).for_each(|_| continued.extend([0x00, 0x80, 0, 0, 0, 0]));
    let mut long = vec![0x01, 0x80 | 126, 0x0f, 0xff, 0, 0, 0, 0];
    long.extend([b'a'; 4_095]);
    (0..20).for_each(|_| {
        long.extend([0x00, 0x80 | 126, 0x0f, 0xff, 0, 0, 0, 0]);
        long.extend([b'a'; 4_095]);
    });
    for (what, sent) in [("gibibyte", gibibyte), ("continued", continued), ("long", long)] {
        let mut socket = raw_socket(&stack, &client);
        let closed = tokio::task::spawn_blocking(move || {
            drop(socket.write_all(&sent));
            let mut frames = Vec::new();
            drop(socket.read_to_end(&mut frames));
            frames
        });
        let frames = closed.await.unwrap();
        // A close frame with 1009.
        assert!(frames.windows(4).any(|window| window == [0x88, 0x02, 0x03, 0xf1]), "{what}: {frames:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_29_who_does_not_read_is_closed_and_the_others_are_not_kept_waiting() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a").await.text("file_id");
    let topic = format!("company:{}", client.principal.company_id);
    let mut lazy = raw_socket(&stack, &client);
    for id in 0..20 {
        let text = json!({ "t": "sub", "id": id, "topic": topic }).to_string();
        let frame = [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0][..], text.as_bytes()].concat();
        lazy.write_all(&frame).unwrap();
    }
    let mut eager = with_token(stack.progress_url(), &client).await;
    send(&mut eager, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    assert_eq!(next(&mut eager).await["t"], "snap");
    // Each rename sends some kilobytes to the lazy subscriber. The server closes its connection at most 10 s after it
    // accepted no more bytes.
    let renamed = async |number: usize| {
        let name = format!("{number}-{}", "n".repeat(200));
        client.patch(&format!("/v1/files/{file}"), &json!({ "display_name": name })).await.expect(204);
        let event = next(&mut eager).await;
        assert_eq!(event["display_name"], name);
    };
    let mut renamed = renamed;
    let began = Instant::now();
    let mut number = 0;
    loop {
        for _ in 0..50 {
            renamed(number).await;
            number += 1;
        }
        lazy.set_nonblocking(true).unwrap();
        // A ping fails if the connection is closed.
        if lazy.write_all(&[0x89, 0x80, 0, 0, 0, 0]).is_err() {
            break;
        }
        // On a slow machine it takes long until all buffers are full.
        assert!(began.elapsed() < Duration::from_secs(300), "{number} events");
    }
    renamed(number).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_30_a_position_from_the_future_or_of_another_epoch_is_a_reset() {
    let stack = Stack::start().await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let mut socket = with_token(stack.progress_url(), &client).await;
    let topic = format!("session:{session}");
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    let snap = next(&mut socket).await;
    let epoch = snap["epoch"].clone();
    let seq = snap["seq"].as_u64().unwrap();
    for (id, from) in
        [(2, json!({ "epoch": epoch, "seq": seq + 1_000_000 })), (3, json!({ "epoch": "long ago", "seq": seq }))]
    {
        send(&mut socket, json!({ "t": "sub", "id": id, "topic": topic, "from": from })).await;
        assert_eq!(next(&mut socket).await, json!({ "t": "reset", "id": id }));
        assert_eq!(next(&mut socket).await["t"], "snap");
    }
    let foreign = stack.client().post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    send(&mut socket, json!({ "t": "sub", "id": 4, "topic": format!("session:{foreign}") })).await;
    assert_eq!(next(&mut socket).await, json!({ "t": "err", "id": 4, "code": "not_found" }));
    stack.finish().await;
}
