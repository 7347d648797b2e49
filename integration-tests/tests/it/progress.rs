//! The WebSocket protocol `waybill.v1`.

use crate::random::bytes;
use crate::socket::{connect, next, send, with_token};
use futures_util::StreamExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use waybill_integration_tests::Stack;

const PART: usize = 8 * 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_came_whole_is_shown_as_complete() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let empty = client.post_file("name=b.txt&mime_type=text/plain", "").await.expect(201).text("file_id");
    let mut socket = with_token(stack.url(), &client).await;
    for (file, size_bytes, chunks) in [(file, 5, 1), (empty, 0, 0)] {
        send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{file}") })).await;
        let state = &next(&mut socket).await["state"];
        assert_eq!((&state["status"], &state["progress_percentage"]), (&json!("COMPLETED"), &json!(100)));
        assert_eq!((&state["bytes_uploaded"], &state["total_bytes"]), (&json!(size_bytes), &json!(size_bytes)));
        assert_eq!((&state["current_chunk"], &state["total_chunks"]), (&json!(chunks), &json!(chunks)));
        assert_eq!((&state["file_id"], &state["user_id"]), (&json!(file), &json!(client.principal.user_id)));
        send(&mut socket, json!({ "t": "unsub", "id": 1 })).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_watched_to_its_end() {
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(50, 6 * PART);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    let mut socket = with_token(stack.url(), &client).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{upload}") })).await;
    let snap = next(&mut socket).await;
    assert_eq!((&snap["t"], &snap["id"], &snap["state"]["status"]), (&json!("snap"), &json!(1), &json!("PENDING")));
    assert_eq!(snap["state"]["total_chunks"], 6);

    let sending = {
        let (client, upload) = (client.clone(), upload.clone());
        tokio::spawn(async move {
            for (index, chunk) in content.chunks(PART).enumerate() {
                client.put_chunk(&upload, index, chunk.to_vec()).await.expect(200);
            }
            client.complete(&upload, &json!({})).await.expect(200)
        })
    };
    let mut last_seq = snap["seq"].as_u64().unwrap();
    let mut last_bytes = 0;
    let mut kinds = Vec::new();
    let mut progressed = 0;
    while kinds.last().is_none_or(|kind| kind != "FileVerified") {
        let frame = next(&mut socket).await;
        assert_eq!((&frame["id"], &frame["topic"]), (&json!(1), &json!(format!("upload:{upload}"))));
        match frame["t"].as_str().unwrap() {
            "prog" => {
                progressed += 1;
                let number = |name: &str| frame[name].as_u64().unwrap_or_else(|| panic!("{name} in {frame}"));
                assert_eq!((number("total_bytes"), number("total_chunks")), (6 * PART as u64, 6));
                assert_eq!(number("progress_percentage"), number("bytes_uploaded") * 100 / number("total_bytes"));
                assert_eq!(number("current_chunk"), number("bytes_uploaded") / PART as u64);
                assert!(number("upload_speed_bytes_per_s") > 0);
                number("estimated_time_remaining_s");
                assert!(number("bytes_uploaded") >= last_bytes, "bytes_uploaded decreased");
                last_bytes = number("bytes_uploaded");
            }
            "ev" => {
                assert_eq!(frame["prev_seq"], last_seq, "an event is missing");
                last_seq = frame["seq"].as_u64().unwrap();
                kinds.push(frame["kind"].as_str().unwrap().to_owned());
                if kinds.last().is_some_and(|kind| kind == "FileVerified") {
                    assert_eq!(frame["status"], "COMPLETED");
                    assert_eq!(frame["sha256"], sending_digest());
                }
            }
            other => panic!("{other} in {frame}"),
        }
    }
    assert_eq!(kinds, ["FileCompleted", "FileVerified"]);
    assert!(progressed >= 1, "no progress was shown");
    sending.await.unwrap();
    socket.close(None).await.unwrap();
    stack.finish().await;
}

fn sending_digest() -> String {
    crate::random::sha256(&bytes(50, 6 * PART))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_and_a_company_are_watched_too() {
    let stack = Stack::start().await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({ "name": "move" })).await.expect(201).text("session_id");
    let mut socket = with_token(stack.url(), &client).await;
    let company = client.principal.company_id;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("session:{session}") })).await;
    assert_eq!(next(&mut socket).await["state"]["session"]["session_name"], "move");
    send(&mut socket, json!({ "t": "sub", "id": 2, "topic": format!("company:{company}") })).await;
    assert_eq!(next(&mut socket).await["state"]["uploads"], json!([]));
    let query = format!("name=a.txt&mime_type=text/plain&session_id={session}");
    client.post_file(&query, "hello").await.expect(201);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let frame = next(&mut socket).await;
        if frame["kind"] == "FileUploaded" {
            assert_eq!(frame["status"], "COMPLETED");
            seen.push(frame["id"].as_u64().unwrap());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    send(&mut socket, json!({ "t": "unsub", "id": 1 })).await;
    // A resumption from another epoch is answered with a reset and a snapshot.
    let from = json!({ "epoch": "another", "seq": 1 });
    send(&mut socket, json!({ "t": "sub", "id": 3, "topic": format!("session:{session}"), "from": from })).await;
    assert_eq!(next(&mut socket).await, json!({ "t": "reset", "id": 3 }));
    let snap = next(&mut socket).await;
    assert_eq!((&snap["t"], &snap["state"]["session"]["completed_files"]), (&json!("snap"), &json!(1)));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_may_be_used_again_at_once() {
    let stack = Stack::start().await;
    let client = stack.client();
    let (first, second) = (client.start(10).await.expect(201), client.start(10).await.expect(201));
    let upload = second.text("upload_id");
    let mut socket = with_token(stack.url(), &client).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{}", first.text("upload_id")) })).await;
    send(&mut socket, json!({ "t": "unsub", "id": 1 })).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("upload:{upload}") })).await;
    // The first subscription may have been confirmed before it was withdrawn. Each snapshot belongs to the topic that
    // it names.
    let mut of_second = false;
    while !of_second {
        let snap = next(&mut socket).await;
        let id = snap["state"]["id"].as_str().unwrap();
        assert_eq!((&snap["t"], &snap["topic"]), (&json!("snap"), &json!(format!("upload:{id}"))));
        of_second = id == upload;
    }
    client.put_chunk(&upload, 0, "0123456789").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    while next(&mut socket).await["kind"] != "FileVerified" {}
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_clients_is_not_found() {
    let stack = Stack::start().await;
    let (client, stranger) = (stack.client(), stack.client());
    let upload = client.start(10).await.expect(201).text("upload_id");
    let mut socket = with_token(stack.url(), &stranger).await;
    let company = client.principal.company_id;
    let nobody = uuid::Uuid::now_v7();
    for (id, topic) in
        [format!("upload:{upload}"), format!("company:{company}"), format!("chatroom:{nobody}"), "x".to_owned()]
            .into_iter()
            .enumerate()
    {
        send(&mut socket, json!({ "t": "sub", "id": id, "topic": topic })).await;
        assert_eq!(next(&mut socket).await, json!({ "t": "err", "id": id, "code": "not_found" }), "{topic}");
    }
    send(&mut socket, json!({ "t": "nonsense" })).await;
    assert_eq!(next(&mut socket).await, json!({ "t": "err", "code": "frame_invalid" }));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_come_in_with_a_ticket_once_and_from_their_origin() {
    let stack = Stack::start().await;
    let client = stack.client();
    let origin = ("origin", "https://app.example".to_owned());
    let ticket = async || {
        let request =
            client.request(reqwest::Method::POST, "/v1/progress/tickets").header("Origin", "https://app.example");
        let answer = client.send(request).await.expect(201);
        assert_eq!(answer.body["expires_in_s"], 30);
        ("sec-websocket-protocol", format!("waybill.v1, ticket.{}", answer.text("ticket")))
    };
    let first = ticket().await;
    let mut socket = connect(stack.url(), &[origin.clone(), first.clone()]).await.unwrap();
    assert_eq!(next(&mut socket).await["t"], "hello");
    assert_eq!(connect(stack.url(), &[origin.clone(), first]).await.err(), Some(401), "a ticket was accepted twice");
    let second = ticket().await;
    let foreign = ("origin", "https://evil.example".to_owned());
    assert_eq!(connect(stack.url(), &[foreign, second.clone()]).await.err(), Some(403));
    assert_eq!(connect(stack.url(), &[second]).await.err(), Some(401), "a ticket was accepted without its origin");
    assert_eq!(connect(stack.url(), &[origin]).await.err(), Some(401));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_says_good_bye() {
    let stack = Stack::start().await;
    let client = stack.client();
    let mut socket = with_token(stack.url(), &client).await;
    let stopping = tokio::spawn(stack.finish());
    let bye = next(&mut socket).await;
    assert_eq!(bye["t"], "bye");
    let closed = socket.next().await.unwrap().unwrap();
    assert!(matches!(&closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1012), "{closed:?}");
    stopping.await.unwrap();
}
