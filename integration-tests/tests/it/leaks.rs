//! Regression tests for authorization. Each test reproduces something that was possible before it was fixed.

use crate::sharing::{Method, Room};
use crate::socket::{closed, next, send, with_token};
use reqwest::Client as Http;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_http_kit::Role;
use waybill_integration_tests::{Answer, Client, Stack};
use waybill_schema::Timestamp;
use waybill_test_kit::eventually;

fn names(answer: &Answer) -> Vec<&str> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["original_name"].as_str().unwrap()).collect()
}

/// Opens a socket that watches the topic. Returns it with the snapshot.
async fn watch(stack: &Stack, client: &Client, topic: &str) -> (crate::socket::Socket, Value) {
    let mut socket = with_token(stack.progress_url(), client).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    let snap = next(&mut socket).await;
    assert_eq!(snap["t"], "snap", "{snap}");
    (socket, snap)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatroom_of_another_company_with_the_same_id_is_another_chatroom() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let other = stack.client();
    let admin = format!("/v1/admin/companies/{}", other.principal.company_id);
    other.put(&admin, &json!({})).await.expect(200);
    let opened = other.put(&format!("{admin}/chatrooms/{}", room.chatroom), &json!({})).await.expect(204);
    other.get_after("/v1/quota", &opened).await.expect(200);
    let topic = format!("chatroom:{}", room.chatroom);
    let (mut foreign, snap) = watch(&stack, &other, &topic).await;
    assert_eq!(snap["state"]["files"], json!([]));
    let (mut own, _) = watch(&stack, &room.ben, &topic).await;
    let theirs = room.file("theirs.txt").await;
    assert_eq!(next(&mut own).await["file_id"], theirs.body["file_id"]);
    let query = format!("name=ours.txt&mime_type=text/plain&chatroom_id={}", room.chatroom);
    let ours = other.post_file(&query, "hello").await.expect(201);
    assert_eq!(
        next(&mut foreign).await["file_id"],
        ours.body["file_id"],
        "the other company got an event of the first one"
    );
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_of_a_reopened_chatroom_sees_no_older_files_or_their_events() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let old = room.file("old.txt").await;
    let chatroom = format!("/chatrooms/{}", room.chatroom);
    room.keep(Method::Delete, &chatroom).await;
    room.keep(Method::Put, &chatroom).await;
    room.keep(Method::Put, &room.member(&room.carl)).await;
    let last = room.keep(Method::Put, &room.member(&room.anna)).await;
    room.admin.get_after("/v1/quota", &last).await.expect(200);
    let (mut socket, snap) = watch(&stack, &room.carl, &format!("chatroom:{}", room.chatroom)).await;
    assert_eq!(snap["state"]["files"], json!([]));
    let renamed = json!({ "display_name": "secret.txt" });
    room.anna.patch(&format!("/v1/files/{}", old.text("file_id")), &renamed).await.expect(204);
    let new = room.file("new.txt").await;
    assert_eq!(next(&mut socket).await["file_id"], new.body["file_id"]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_share_hides_from_a_member_no_list_snapshot_or_event_shows_them() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.small_file("a.txt").await;
    let path = format!("/v1/files/{}", file.text("file_id"));
    let permissions = json!({ "everyone": [], "users": { (room.ben.principal.user_id.to_string()): ["view"] } });
    let share = json!({ "chatroom_id": room.chatroom, "permissions": permissions });
    let shared = room.anna.post(&format!("{path}/associations"), &share).await.expect(201);
    let last = room.keep(Method::Put, &room.member(&room.carl)).await;
    room.admin.get_after("/v1/quota", &last).await.expect(200);
    room.carl.get_after(&path, &shared).await.refused(404, "not_found");
    assert_eq!(names(&room.carl.get(&room.listing()).await.expect(200)), Vec::<&str>::new());
    assert_eq!(names(&room.ben.get(&room.listing()).await.expect(200)), ["a.txt"]);
    let topic = format!("chatroom:{}", room.chatroom);
    let (mut carls, snap) = watch(&stack, &room.carl, &topic).await;
    assert_eq!(snap["state"]["files"], json!([]));
    let (_, snap) = watch(&stack, &room.ben, &topic).await;
    assert_eq!(snap["state"]["files"][0]["original_name"], "a.txt");
    room.anna.patch(&path, &json!({ "display_name": "secret.txt" })).await.expect(204);
    let open = room.file("open.txt").await;
    assert_eq!(next(&mut carls).await["file_id"], open.body["file_id"]);
    // Carl sees the file through one association and not through the other one. A list shows only the first one.
    let thread = json!({ "thread_id": room.thread });
    let second = room.anna.post(&format!("{path}/associations"), &thread).await.expect(201);
    room.carl.get_after(&path, &second).await.expect(200);
    assert_eq!(names(&room.carl.get(&room.listing()).await.expect(200)), ["open.txt"]);
    // A cursor contains no readable data.
    let page = room.ben.get(&format!("{}&limit=1", room.listing())).await.expect(200);
    let cursor = page.text("next_cursor");
    let read = base64_text(&cursor);
    assert!(!read.contains("Shared") && !read.contains(&room.chatroom.to_string()), "{read}");
    stack.finish().await;
}

fn base64_text(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_cannot_grant_permissions_that_the_member_does_not_have() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.small_file("a.txt").await;
    let path = format!("/v1/files/{}", file.text("file_id"));
    let shares = format!("{path}/associations");
    let granted = json!({ "chatroom_id": room.chatroom, "permissions": { "everyone": ["view", "share", "manage"] } });
    let shared = room.anna.post(&shares, &granted).await.expect(201);
    room.ben.get_after(&path, &shared).await.expect(200);
    let usual = json!({ "thread_id": room.thread });
    room.ben.post(&shares, &usual).await.refused(403, "not_permitted");
    let association = format!("/v1/associations/{}", shared.text("id"));
    let more = json!({ "permissions": { "everyone": ["view", "download"] } });
    room.ben.patch(&association, &more).await.refused(403, "not_permitted");
    let view = json!({ "thread_id": room.thread, "permissions": { "everyone": ["view"] } });
    room.ben.post(&shares, &view).await.expect(201);
    room.ben.get(&format!("{path}/content")).await.refused(403, "not_permitted");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_as_many_downloads_as_it_says() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let token = client.post(&format!("/v1/files/{file}/tokens"), &json!({ "max_downloads": 3 })).await.expect(201);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let url = format!("{}{}", stack.url(), token.text("url"));
        statuses.push(Http::new().get(url).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 410, 410]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_with_a_bearer_does_not_get_into_the_audit_trail() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let token = client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201);
    client.get(&format!("{}/", token.text("url"))).await.refused(404, "not_found");
    let kept = eventually("the refusal to be in the audit", || async {
        let kept = client.get("/v1/audit?refusals=true").await.expect(200);
        kept.body["items"].as_array().unwrap().iter().any(|item| item["code"] == "not_found").then_some(kept)
    })
    .await;
    assert!(!kept.body.to_string().contains(&token.text("token")));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_company_topic_closes_when_its_user_loses_the_admin_role() {
    let stack = Stack::start().await;
    let admin = stack.client();
    admin.small_file("a.txt").await;
    let topic = format!("company:{}", admin.principal.company_id);
    let (mut socket, _) = watch(&stack, &admin, &topic).await;
    let fewer = waybill_http_kit::Principal {
        roles: Vec::new(),
        expires_at: Timestamp(admin.principal.expires_at.0 + 60_000),
        ..admin.principal.clone()
    };
    send(&mut socket, json!({ "t": "auth", "token": stack.token(&fewer) })).await;
    assert_eq!(closed(&mut socket).await, 4003);
    stack.finish().await;
}

/// Values that the tables cannot store are refused, and the projection continues.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_the_tables_cannot_store_never_stop_the_projection() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let nul = json!({ "metadata": { "a": "x\u{0}y" } });
    room.anna.start_with(1, nul.clone()).await.refused(400, "metadata_invalid");
    let file = room.file("a.txt").await;
    let path = format!("/v1/files/{}", file.text("file_id"));
    room.anna.patch(&path, &nul).await.refused(400, "metadata_invalid");
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    room.anna.patch(&path, &json!({ "metadata": { "a": deep } })).await.refused(400, "metadata_invalid");
    let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let query = format!("name=b.txt&mime_type=text/plain&metadata={{\"a\":{nested}}}");
    room.anna.post_file(&query, "hello").await.refused(400, "metadata_invalid");
    let association = format!("/v1/associations/{}", file.text("file_id"));
    let far = json!({ "expires_at": "+12345-01-01T00:00:00Z" });
    room.anna.patch(&association, &far).await.refused(422, "association_invalid");
    // A partial upload is not a file, so it cannot be pinned.
    let started = room.anna.request(reqwest::Method::POST, "/tus/").header("Tus-Resumable", "1.0.0");
    let metadata = format!("chatroom_id {}", base64_of(&room.chatroom.to_string()));
    let started = started.header("Upload-Concat", "partial").header("Upload-Length", "0");
    let created = started.header("Upload-Metadata", metadata).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let partial = created.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let pinned = json!({ "is_pinned": true });
    room.anna.patch(&format!("/v1/associations/{partial}"), &pinned).await.refused(404, "not_found");
    let nul = format!("filename {},note {}", base64_of("c.txt"), base64_of("x\u{0}"));
    let request = room.anna.request(reqwest::Method::POST, "/tus/").header("Tus-Resumable", "1.0.0");
    let created = request.header("Upload-Length", "1").header("Upload-Metadata", nul).send().await.unwrap();
    assert_eq!(created.status(), 201);
    // All events are projected, and no event is parked.
    let last = room.file("z.txt").await;
    room.ben.get_after(&format!("/v1/files/{}", last.text("file_id")), &last).await.expect(200);
    stack.finish().await;
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_cannot_read_or_change_the_directory_of_another_company() {
    let stack = Stack::start().await;
    let host = stack.host();
    let admin = stack.client_for(waybill_schema::CompanyId(Uuid::now_v7()), &[Role::Admin]);
    let foreign = format!("/v1/admin/companies/{}", Uuid::now_v7());
    for what in ["", "/users/x", "/chatrooms/x", "/threads/x", "/chatrooms/x/members/y", "/threads/x/members/y"] {
        let path = format!(
            "{foreign}{}",
            what.replace('x', &Uuid::now_v7().to_string()).replace('y', &Uuid::now_v7().to_string())
        );
        admin.put(&path, &json!({})).await.refused(404, "not_found");
        admin.delete(&path).await.refused(404, "not_found");
    }
    admin.post(&format!("{foreign}/bulk"), &json!({ "operations": [] })).await.refused(404, "not_found");
    admin.get(&foreign).await.refused(404, "not_found");
    host.get(&foreign).await.refused(404, "not_found");
    stack.finish().await;
}
