//! Members of other chatrooms and withdrawn access.

use crate::sharing::{Method as Keep, Room};
use crate::socket::{next, send, with_token};
use crate::speaker::Speaker;
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn row_6_a_member_of_one_room_has_nothing_of_another() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    // Carl is a user of the company, with a chatroom of his own.
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
    // The audit has his attempts over HTTP, tus and WebSocket.
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
    // The permission `view` is not enough for a download.
    let since = Instant::now();
    let view = json!({ "permissions": { "everyone": ["view"] } });
    room.anna.patch(&format!("/v1/associations/{}", files[1].text("file_id")), &view).await.expect(204);
    ended(&urls[1], since).await;
    let since = Instant::now();
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    ended(&urls[2], since).await;
    stack.finish().await;
}
