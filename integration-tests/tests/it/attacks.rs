//! Attacks on connections, names, tokens and what Waybill stands on. docs/threats.md maps the rows to these.

use crate::sharing::{Method as Keep, Room};
use crate::socket::{next, send, with_token};
use crate::speaker::Speaker;
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_schema::Timestamp;
use waybill_test_kit::eventually;

/// A client with a token that is signed well, whatever it says.
fn with_signed(stack: &Stack, client: &Client, header: Value, more: Value, without: &[&str]) -> Client {
    let mut claims = json!({
        "sub": client.principal.user_id, "company_id": client.principal.company_id, "roles": [],
        "iss": "waybill", "aud": "waybill", "exp": client.principal.expires_at.0 / 1_000,
    });
    let members = claims.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    without.iter().for_each(|name| drop(members.remove(*name)));
    Client::new(stack.url().to_owned(), stack.sign(&header, &claims), client.principal.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_1_to_3_a_good_signature_does_not_make_a_good_token() {
    let stack = Stack::start().await;
    let client = stack.client();
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let of = |header: Value, more: Value, without: &[&str]| with_signed(&stack, &client, header, more, without);
    of(hs256.clone(), json!({}), &[]).get("/v1/files").await.expect(200);
    of(json!({ "alg": "HS256", "kid": "a-key.1" }), json!({}), &[]).get("/v1/files").await.expect(200);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    for more in [
        json!({ "jku": url }),
        json!({ "x5u": url }),
        json!({ "jwk": { "kty": "oct", "k": "AAAA" } }),
        json!({ "x5c": ["AAAA"] }),
        json!({ "kid": url }),
        json!({ "kid": "../../etc/passwd" }),
        json!({ "kid": "" }),
        json!({ "typ": "logout+jwt" }),
    ] {
        let mut header = hs256.clone();
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of(header, json!({}), &[]).get("/v1/files").await.refused(401, "token_invalid");
    }
    let past = Timestamp(client.principal.expires_at.0 - 7_200_000).0 / 1_000;
    for more in [
        json!({ "iss": "somebody" }),
        json!({ "aud": "else" }),
        json!({ "exp": "4000000000" }),
        json!({ "exp": past }),
        json!({ "nbf": 4_000_000_000_i64 }),
        json!({ "sub": "nobody" }),
        json!({ "company_id": "none" }),
    ] {
        of(hs256.clone(), more, &[]).get("/v1/files").await.refused(401, "token_invalid");
    }
    for without in ["iss", "aud", "exp", "sub", "company_id"] {
        of(hs256.clone(), json!({}), &[without]).get("/v1/files").await.refused(401, "token_invalid");
    }
    assert!(listener.accept().is_err(), "nothing is fetched");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_6_a_member_of_one_room_has_nothing_of_another() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    // Carl has a room of his own, and so is no stranger to the company.
    let other = Uuid::now_v7();
    room.keep(Keep::Put, &format!("/chatrooms/{other}")).await;
    let member = format!("/chatrooms/{other}/members/{}", room.carl.principal.user_id);
    let last = room.keep(Keep::Put, &member).await;
    let posted = room.file("a.txt").await;
    room.admin.get_after("/v1/quota", &last).await.expect(200);
    let file = posted.text("file_id");
    room.ben.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    room.carl.get(&format!("/v1/files?chatroom_id={other}")).await.expect(200);
    let carl = &room.carl;
    for path in ["", "/content", "/associations", "/tokens"] {
        carl.get(&format!("/v1/files/{file}{path}")).await.refused(404, "not_found");
    }
    let head = carl.request(Method::HEAD, &format!("/v1/files/{file}/content")).send().await.unwrap();
    assert_eq!(head.status(), 404);
    carl.patch(&format!("/v1/files/{file}"), &json!({ "display_name": "b" })).await.refused(404, "not_found");
    carl.delete(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    carl.post(&format!("/v1/files/{file}/restore"), &json!({})).await.refused(404, "not_found");
    carl.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.refused(404, "not_found");
    let share = json!({ "chatroom_id": other });
    carl.post(&format!("/v1/files/{file}/associations"), &share).await.refused(404, "not_found");
    carl.patch(&format!("/v1/associations/{file}"), &json!({ "is_pinned": true })).await.refused(404, "not_found");
    carl.delete(&format!("/v1/associations/{file}")).await.refused(404, "not_found");
    carl.get(&format!("/v1/uploads/{file}")).await.refused(404, "not_found");
    carl.delete(&format!("/v1/uploads/{file}")).await.refused(404, "not_found");
    Speaker::tus(carl.clone()).head(&format!("/tus/{file}")).await.expect(404);
    let mut socket = with_token(stack.progress_url(), carl).await;
    for (id, topic) in [(1, format!("chatroom:{}", room.chatroom)), (2, format!("upload:{file}"))] {
        send(&mut socket, json!({ "t": "sub", "id": id, "topic": topic })).await;
        assert_eq!(next(&mut socket).await, json!({ "t": "err", "id": id, "code": "not_found" }));
    }
    // What he tried is known, over HTTP, tus and WebSocket.
    let actor = format!("/v1/audit?refusals=true&limit=100&actor={}", carl.principal.user_id);
    eventually("the refusals to be kept", || async {
        let kept = room.admin.get(&actor).await.expect(200);
        let methods: Vec<&str> =
            kept.body["items"].as_array().unwrap().iter().map(|item| item["method"].as_str().unwrap()).collect();
        ["GET", "HEAD", "PATCH", "DELETE", "POST", "SUB"].iter().all(|method| methods.contains(method)).then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_7_a_link_ends_with_the_share_the_message_and_the_membership() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let http = reqwest::Client::new();
    let token_of = async |file: &str| {
        let body = json!({ "max_downloads": null });
        let issued = room.ben.post(&format!("/v1/files/{file}/tokens"), &body).await.expect(201);
        format!("{}{}", stack.url(), issued.text("url"))
    };
    let ended = async |url: &str, since: Instant| {
        while http.get(url).send().await.unwrap().status() == 200 {
            assert!(since.elapsed() < Duration::from_secs(1), "{url} took {:?}", since.elapsed());
        }
        let status = http.get(url).send().await.unwrap().status().as_u16();
        assert!([404, 410].contains(&status), "{status}");
    };
    let files = [room.file("a").await, room.file("b").await, room.file("c").await];
    let mut urls = Vec::new();
    for file in &files {
        room.ben.get_after(&format!("/v1/files/{}", file.text("file_id")), file).await.expect(200);
        urls.push(token_of(&file.text("file_id")).await);
        assert_eq!(http.get(urls.last().unwrap()).send().await.unwrap().status(), 200);
    }
    let since = Instant::now();
    room.anna.delete(&format!("/v1/associations/{}", files[0].text("file_id"))).await.expect(204);
    ended(&urls[0], since).await;
    room.ben.get(&format!("/v1/files/{}/content", files[0].text("file_id"))).await.refused(404, "not_found");
    // To see it is not enough for those whom a link would let read it.
    let since = Instant::now();
    let view = json!({ "permissions": { "everyone": ["view"] } });
    room.anna.patch(&format!("/v1/associations/{}", files[1].text("file_id")), &view).await.expect(204);
    ended(&urls[1], since).await;
    let since = Instant::now();
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    ended(&urls[2], since).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_the_table_of_tokens_opens_nothing() {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Text)]
        token: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        row: String,
    }
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let issued = client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201);
    client.get_after(&format!("/v1/files/{file}/tokens"), &issued).await.expect(200);
    let mut connection = stack.database("waybill").connection().await.unwrap();
    let query = diesel::sql_query("SELECT token, to_json(t)::text AS row FROM download_token t");
    let rows: Vec<Found> = query.load(&mut connection).await.unwrap();
    assert_eq!(rows.len(), 1);
    let text = issued.text("token");
    assert_eq!(rows[0].token, sha256_of(&text));
    assert!(!rows[0].row.contains(&text) && !rows[0].row.contains(&text[text.len() - 20..]));
    drop(connection);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_19_a_name_that_is_no_text_is_none_and_no_key_is_made_of_one() {
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

fn sha256_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn socket_to(url: &str) -> TcpStream {
    let socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
    socket
}

/// What the server says until it closes the connection.
fn all_of(mut socket: TcpStream) -> String {
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A body of JSON, of a chunk, and a head, each a byte at a time; and a reader who does not read.
#[tokio::test(flavor = "multi_thread")]
async fn row_25_who_is_too_slow_is_let_go_and_goes_on_later() {
    let stack = Stack::start().await;
    let client = stack.client();
    let url = stack.url().to_owned();
    let head = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{more}\r\n", client.token())
    };
    // Eight bytes in all, with pauses: what is measured is how long the server bears it.
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
    assert!(answer.starts_with("HTTP/1.1 408") && took < Duration::from_secs(30), "{took:?} {answer}");
    let (answer, took) = kept_alive.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && took < Duration::from_secs(40), "{took:?} {answer}");
    // The reader wakes up when the server has long lost its patience: the rest is not there.
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
    // The upload goes on with the bytes that it began with.
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

/// A WebSocket that sends what no library would.
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
    // Every rename is some kilobytes for the lazy one: until its connection is gone, no more than ten seconds after it
    // took no more.
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
        // A ping: a connection that was closed does not take it.
        if lazy.write_all(&[0x89, 0x80, 0, 0, 0, 0]).is_err() {
            break;
        }
        // On a slow machine it takes long until nothing more fits on the way.
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

#[tokio::test(flavor = "multi_thread")]
async fn row_38_without_postgres_or_with_a_slow_one_it_is_503_until_it_is_back() {
    use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    let mut connection = stack.database("waybill").connection().await.unwrap();
    connection.batch_execute("BEGIN; LOCK TABLE file IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let answer = client.request(Method::GET, "/v1/files").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    diesel::sql_query("ROLLBACK").execute(&mut connection).await.unwrap();
    client.get("/v1/files").await.expect(200);
    // All connections are cut: the next ones are made anew.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE pid <> pg_backend_pid() AND datname = current_database()";
    diesel::sql_query(cut).execute(&mut connection).await.unwrap();
    eventually("new connections", || async { (client.get("/v1/files").await.status == 200).then_some(()) }).await;
    drop(connection);
    client.small_file("b").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_38_while_nats_hangs_nothing_is_acknowledged_and_then_it_goes_on() {
    let mut cluster = waybill_integration_tests::Cluster::start(waybill_integration_tests::Counts::default()).await;
    let client = cluster.client();
    client.small_file("a").await;
    cluster.backing.nats_server().hang();
    for path in ["/v1/files?name=b&mime_type=text/plain"] {
        let answer = client.request(Method::POST, path).body("hello").send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    let guess = reqwest::get(format!("{}/d/{}", cluster.url(), "A".repeat(86))).await.unwrap();
    assert!([404, 503].contains(&guess.status().as_u16()), "{}", guess.status());
    cluster.backing.nats_server().go_on();
    eventually("NATS", || async {
        let answer = client.post_file("name=c&mime_type=text/plain", "hello").await;
        (answer.status == 201).then_some(())
    })
    .await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_behind_a_proxy_that_is_trusted_an_address_is_a_network() {
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
