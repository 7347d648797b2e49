//! Attacks that continue after access was withdrawn: shares that rest on another share, uploads into a chatroom of former
//! members, links and transfers. The findings are those of docs/threats.md.

use crate::sharing::{Method as Keep, Room};
use crate::socket::{next, send, with_token};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Client, Stack};
use waybill_test_kit::eventually;

/// A file of Anna that Ben may pass on, and a thread of Ben and Dora, who is no member of the chatroom.
struct PassedOn {
    room: Room,
    dora: Client,
    thread: Uuid,
    path: String,
    shares: String,
}

impl PassedOn {
    async fn of(stack: &Stack) -> Self {
        let room = Room::of(stack).await;
        let dora = stack.client_for(room.admin.principal.company_id, &[]);
        let thread = Uuid::now_v7();
        room.keep(Keep::Put, &format!("/users/{}", dora.principal.user_id)).await;
        room.keep(Keep::Put, &format!("/threads/{thread}")).await;
        let mut last = None;
        for client in [&room.ben, &dora] {
            let member = format!("/threads/{thread}/members/{}", client.principal.user_id);
            last = Some(room.keep(Keep::Put, &member).await);
        }
        room.admin.get_after("/v1/quota", last.as_ref().unwrap()).await.expect(200);
        let posted = room.anna.small_file("a.txt").await;
        let path = format!("/v1/files/{}", posted.text("file_id"));
        room.anna.get_after(&path, &posted).await.expect(200);
        Self { room, dora, thread, shares: format!("{path}/associations"), path }
    }

    /// Shares the file with the chatroom as Anna.
    async fn share(&self, more: Value) -> Answer {
        let mut body = json!({
            "chatroom_id": self.room.chatroom,
            "permissions": { "everyone": ["view", "download", "share"] },
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let shared = self.room.anna.post(&self.shares, &body).await.expect(201);
        self.room.ben.get_after(&self.path, &shared).await.expect(200);
        shared
    }

    /// Shares the file with the thread as Ben.
    async fn pass_on(&self, more: Value) -> Answer {
        let mut body = json!({ "thread_id": self.thread });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.room.ben.post(&self.shares, &body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_share_ends_with_the_share_that_permitted_it() {
    let stack = Stack::start().await;
    let passed = PassedOn::of(&stack).await;
    let (room, dora) = (&passed.room, &passed.dora);
    let first = passed.share(json!({})).await;
    let second = passed.pass_on(json!({})).await.expect(201);
    dora.get_after(&passed.path, &second).await.expect(200);
    let list = format!("/v1/files?thread_id={}", passed.thread);
    assert_eq!(dora.get(&list).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    // Ben leaves the chatroom. He may not share the file any more, so nobody sees it through him.
    let removed = room.keep(Keep::Delete, &room.member(&room.ben)).await;
    for client in [dora, &room.ben] {
        client.get_after(&passed.path, &removed).await.refused(404, "not_found");
        client.get(&format!("{}/content", passed.path)).await.refused(404, "not_found");
    }
    assert_eq!(dora.get(&list).await.expect(200).body["items"], json!([]));
    let back = room.keep(Keep::Put, &room.member(&room.ben)).await;
    dora.get_after(&passed.path, &back).await.expect(200);
    // A share without `share` does not permit Ben's share.
    let association = format!("/v1/associations/{}", first.text("id"));
    let usual = json!({ "permissions": { "everyone": ["view", "download"] } });
    let changed = room.anna.patch(&association, &usual).await.expect(204);
    dora.get_after(&passed.path, &changed).await.refused(404, "not_found");
    // With fewer permissions, his share gives fewer as well.
    let view = json!({ "permissions": { "everyone": ["view", "share"] } });
    let changed = room.anna.patch(&association, &view).await.expect(204);
    dora.get_after(&passed.path, &changed).await.expect(200);
    dora.get(&format!("{}/content", passed.path)).await.refused(403, "not_permitted");
    // The revocation is final, and the owner does not see what remains of it.
    let revoked = room.anna.delete(&association).await.expect(204);
    dora.get_after(&passed.path, &revoked).await.refused(404, "not_found");
    let left = room.anna.get_after(&passed.shares, &revoked).await.expect(200);
    assert_eq!(left.body["items"], json!([]));
    // A new share with the chatroom does not bring it back. Ben can pass the file on again.
    let anew = passed.share(json!({})).await;
    dora.get_after(&passed.path, &anew).await.refused(404, "not_found");
    let again = passed.pass_on(json!({})).await.expect(201);
    dora.get_after(&passed.path, &again).await.expect(200);
    // After it is revoked again, others can still share the file with the thread.
    let revoked = room.anna.delete(&association).await.expect(204);
    dora.get_after(&passed.path, &revoked).await.refused(404, "not_found");
    let by_admin = room.admin.post(&passed.shares, &json!({ "thread_id": passed.thread })).await.expect(201);
    dora.get_after(&passed.path, &by_admin).await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_shares_for_named_users_can_be_passed_on_among_them() {
    let stack = Stack::start().await;
    let passed = PassedOn::of(&stack).await;
    let (room, dora) = (&passed.room, &passed.dora);
    let farther = Uuid::now_v7();
    room.keep(Keep::Put, &format!("/threads/{farther}")).await;
    for client in [dora, &room.carl] {
        room.keep(Keep::Put, &format!("/threads/{farther}/members/{}", client.principal.user_id)).await;
    }
    let named = |clients: &[&Client]| {
        let users =
            clients.iter().map(|client| (client.principal.user_id.to_string(), json!(["view", "download", "share"])));
        json!({ "access_type": "RESTRICTED", "permissions": { "users": users.collect::<serde_json::Map<_, _>>() } })
    };
    passed.share(named(&[&room.ben, dora, &room.carl])).await;
    let second = passed.pass_on(named(&[dora, &room.carl])).await.expect(201);
    dora.get_after(&passed.path, &second).await.expect(200);
    let mut body = named(&[&room.carl]);
    body["thread_id"] = json!(farther);
    let third = dora.post(&passed.shares, &body).await.expect(201);
    room.carl.get_after(&passed.path, &third).await.expect(200);
    let list = format!("/v1/files?thread_id={farther}");
    for client in [&room.carl, &room.admin] {
        assert_eq!(client.get(&list).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_a_share_that_rests_on_another_cannot_reach_more_people_or_last_longer() {
    let stack = Stack::start().await;
    let passed = PassedOn::of(&stack).await;
    let room = &passed.room;
    let soon = |hours| (chrono::Utc::now() + chrono::Duration::hours(hours)).to_rfc3339();
    let first = passed.share(json!({ "expires_at": soon(1) })).await;
    passed.pass_on(json!({ "access_type": "PUBLIC" })).await.refused(403, "not_permitted");
    passed.pass_on(json!({ "expires_at": soon(2) })).await.refused(403, "not_permitted");
    // Without an end, it ends with the one that it rests on.
    let second = passed.pass_on(json!({})).await.expect(201);
    let listed = room.anna.get_after(&passed.shares, &second).await.expect(200);
    let ends: Vec<&Value> = listed.body["items"].as_array().unwrap().iter().map(|item| &item["expires_at"]).collect();
    assert_eq!(ends[0], ends[1]);
    // Neither its author nor an admin can extend it.
    let association = format!("/v1/associations/{}", second.text("id"));
    for wider in [json!({ "access_type": "PUBLIC" }), json!({ "expires_at": null }), json!({ "expires_at": soon(2) })] {
        for client in [&room.ben, &room.admin] {
            client.patch(&association, &wider).await.refused(403, "not_permitted");
        }
    }
    room.ben.patch(&association, &json!({ "is_pinned": true })).await.expect(204);
    // The uploader can.
    let original = format!("/v1/associations/{}", first.text("id"));
    room.anna.patch(&original, &json!({ "expires_at": soon(3) })).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m4_who_may_manage_a_share_cannot_widen_it() {
    let stack = Stack::start().await;
    let passed = PassedOn::of(&stack).await;
    let room = &passed.room;
    let ben = room.ben.principal.user_id.to_string();
    let named = json!({ "access_type": "RESTRICTED",
        "permissions": { "users": { ben.clone(): ["view", "download", "share", "manage"] } } });
    let first = passed.share(named).await;
    let association = format!("/v1/associations/{}", first.text("id"));
    let more = json!({ ben.clone(): ["view"], (Uuid::now_v7().to_string()): ["view"] });
    for wider in [
        json!({ "access_type": "PUBLIC", "permissions": { "everyone": ["view"], "users": { ben.clone(): ["view"] } } }),
        json!({ "access_type": "PRIVATE", "permissions": { "users": { ben.clone(): ["view"] } } }),
        json!({ "permissions": { "everyone": ["view"], "users": more } }),
    ] {
        room.ben.patch(&association, &wider).await.refused(403, "not_permitted");
    }
    // Nor can he share it with everybody in his thread.
    passed.pass_on(json!({})).await.refused(403, "not_permitted");
    let myself = json!({ "access_type": "RESTRICTED", "permissions": { "users": { ben.clone(): ["view"] } } });
    passed.pass_on(myself).await.expect(201);
    let shorter = (chrono::Utc::now() + chrono::Duration::hours(1)).to_rfc3339();
    room.ben.patch(&association, &json!({ "expires_at": shorter })).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_who_is_named_in_a_share_does_not_see_who_else_is() {
    let stack = Stack::start().await;
    let passed = PassedOn::of(&stack).await;
    let room = &passed.room;
    let (ben, other) = (room.ben.principal.user_id.to_string(), Uuid::now_v7().to_string());
    let named = json!({ "access_type": "RESTRICTED",
        "permissions": { "users": { ben.clone(): ["view"], other: ["view", "download"] } } });
    passed.share(named).await;
    let listed = room.ben.get(&passed.shares).await.expect(200);
    assert_eq!(listed.body["items"][0]["permissions"]["users"], json!({ ben.clone(): ["view"] }));
    let listed = room.ben.get(&room.listing()).await.expect(200);
    assert_eq!(listed.body["items"][0]["association"]["permissions"]["users"], json!({ ben: ["view"] }));
    let listed = room.anna.get(&passed.shares).await.expect(200);
    assert_eq!(listed.body["items"][0]["permissions"]["users"].as_object().unwrap().len(), 2);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m6_who_was_removed_from_a_chatroom_cannot_deliver_into_it() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let topic = format!("chatroom:{}", room.chatroom);
    let content = "hello";
    let start = async |client: &Client, name: &str| {
        let body = json!({ "name": name, "size_bytes": content.len(), "mime_type": "text/plain",
            "chatroom_id": room.chatroom });
        client.post("/v1/uploads", &body).await.expect(201).text("upload_id")
    };
    let (ben, anna, admin) =
        (start(&room.ben, "phish.txt").await, start(&room.anna, "a.txt").await, start(&room.admin, "b.txt").await);
    let mut socket = with_token(stack.progress_url(), &room.anna).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    assert_eq!(next(&mut socket).await["t"], "snap");
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    for (client, upload) in [(&room.ben, &ben), (&room.anna, &anna), (&room.admin, &admin)] {
        client.put_chunk(upload, 0, content).await.expect(200);
        let completed = client.complete(upload, &json!({})).await;
        assert!(completed.status < 300, "{completed:?}");
    }
    // Ben keeps his file, and nobody else sees it.
    let file = |upload: &str| format!("/v1/files/{upload}");
    eventually("Ben's file to be verified", || async {
        let shown = room.ben.get(&file(&ben)).await;
        (shown.body["is_processed"] == true).then_some(())
    })
    .await;
    room.anna.get(&file(&ben)).await.refused(404, "not_found");
    let listed = eventually("the other files to be listed", || async {
        let listed = room.anna.get(&room.listing()).await.expect(200);
        (listed.body["items"].as_array().unwrap().len() == 2).then_some(listed)
    })
    .await;
    assert!(!listed.body.to_string().contains("phish"), "{listed:?}");
    // The members hear of the other files only.
    let mut verified = Vec::new();
    while verified.len() < 2 {
        let event = next(&mut socket).await;
        assert!(event["kind"] == "ShareRevoked" || event["file_id"] != json!(ben), "{event}");
        if event["kind"] == "FileVerified" {
            verified.push(event["file_id"].as_str().unwrap().to_owned());
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_members_do_not_see_files_of_others_before_they_are_verified() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let topic = format!("chatroom:{}", room.chatroom);
    let mut sockets = Vec::new();
    for client in [&room.ben, &room.anna, &room.admin] {
        let mut socket = with_token(stack.progress_url(), client).await;
        send(&mut socket, json!({ "t": "sub", "id": 1, "topic": topic })).await;
        assert_eq!(next(&mut socket).await["t"], "snap");
        sockets.push(socket);
    }
    let body =
        json!({ "name": "secret.txt", "size_bytes": 5, "mime_type": "text/plain", "chatroom_id": room.chatroom });
    let started = room.anna.post("/v1/uploads", &body).await.expect(201);
    let upload = started.text("upload_id");
    let names = async |client: &Client, status: &str| {
        let listed = client.get_after(&format!("{}&status={status}", room.listing()), &started).await.expect(200);
        listed.body["items"].as_array().unwrap().len()
    };
    for (client, seen) in [(&room.ben, 0), (&room.anna, 1), (&room.admin, 1)] {
        assert_eq!(names(client, "PENDING").await, seen);
    }
    // The digest is another one, so the file is rejected.
    room.anna.put_chunk(&upload, 0, "hello").await.expect(200);
    room.anna.complete(&upload, &json!({ "sha256": "00".repeat(32) })).await;
    eventually("the file to be rejected", || async { (names(&room.anna, "FAILED").await == 1).then_some(()) }).await;
    assert_eq!(names(&room.ben, "FAILED").await, 0);
    // Anna and the admin hear of it. The first event for Ben is that of the next file.
    let after = room.file("known.txt").await;
    for (socket, first) in sockets.iter_mut().zip(["FileUploaded", "UploadStarted", "UploadStarted"]) {
        let event = next(socket).await;
        assert_eq!(event["kind"], json!(first), "{event}");
        let of = if first == "FileUploaded" { after.text("file_id") } else { upload.clone() };
        assert_eq!(event["file_id"], json!(of), "{event}");
    }
    stack.finish().await;
}

/// Size of a file that no buffer of a connection holds.
const LARGE: usize = 48 << 20;

/// Reads a running download until it ends. Returns the number of bytes, and `true` if the whole body arrived.
async fn drain(mut download: reqwest::Response) -> (usize, bool) {
    let mut read = 0;
    loop {
        match download.chunk().await {
            Ok(Some(bytes)) => read += bytes.len(),
            Ok(None) => return (read, true),
            Err(_) => return (read, false),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_running_downloads_stop_after_the_revocation_of_what_they_rest_on() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let query = format!("name=a.bin&mime_type=application/octet-stream&chatroom_id={}", room.chatroom);
    let posted = room.anna.post_file(&query, vec![7_u8; LARGE]).await.expect(201);
    let file = posted.text("file_id");
    let path = format!("/v1/files/{file}");
    room.ben.get_after(&path, &posted).await.expect(200);
    let issued = room.anna.post(&format!("{path}/tokens"), &json!({ "max_downloads": null })).await.expect(201);
    let content = format!("{path}/content");
    let read = async |client: &Client| client.request(reqwest::Method::GET, &content).send().await.unwrap();
    let (of_ben, of_anna, of_admin) = (read(&room.ben).await, read(&room.anna).await, read(&room.admin).await);
    let url = format!("{}{}", stack.url(), issued.text("url"));
    let by_link = reqwest::Client::new().get(url).send().await.unwrap();
    assert_eq!([of_ben.status(), of_anna.status(), of_admin.status(), by_link.status()], [200; 4]);
    let since = Instant::now();
    room.keep(Keep::Delete, &room.member(&room.ben)).await;
    room.anna.delete(&format!("/v1/tokens/{}", issued.text("id"))).await.expect(204);
    let sign_out = room.path(&format!("/users/{}/sign-out", room.admin.principal.user_id));
    let host = stack.client_for(room.admin.principal.company_id, &[waybill_http_kit::Role::Service]);
    host.post(&sign_out, &json!({})).await.expect(204);
    // The next checks of the running downloads are at most a second away. They run when the clients read on.
    while since.elapsed() < Duration::from_secs(2) {
        room.ben.get(&path).await.refused(404, "not_found");
    }
    for download in [of_ben, of_admin, by_link] {
        let (read, is_whole) = drain(download).await;
        assert!(!is_whole && read < LARGE, "{read} bytes");
    }
    assert_eq!(drain(of_anna).await, (LARGE, true));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_links_of_an_administrator_lose_the_rights_of_the_role_with_it() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let posted = room.anna.post_file("name=a.bin&mime_type=application/octet-stream", vec![7_u8; LARGE]).await;
    let own = room.admin.small_file("own.txt").await.expect(201);
    let link = async |posted: &Answer| {
        let path = format!("/v1/files/{}", posted.text("file_id"));
        room.admin.get_after(&path, posted).await.expect(200);
        let issued = room.admin.post(&format!("{path}/tokens"), &json!({ "max_downloads": null })).await.expect(201);
        format!("{}{}", stack.url(), issued.text("url"))
    };
    let (of_anna, of_own) = (link(&posted.expect(201)).await, link(&own).await);
    let http = reqwest::Client::new();
    let get = async |url: &str| http.get(url).send().await.unwrap();
    let running = get(&of_anna).await;
    assert_eq!(running.status(), 200);
    let since = Instant::now();
    let sign_out = room.path(&format!("/users/{}/sign-out", room.admin.principal.user_id));
    let host = stack.client_for(room.admin.principal.company_id, &[waybill_http_kit::Role::Service]);
    host.post(&sign_out, &json!({})).await.expect(204);
    eventually("the link to end", || async { (get(&of_anna).await.status() == 404).then_some(()) }).await;
    // The user can still read the own file without the role.
    assert_eq!(get(&of_own).await.status(), 200);
    // The next check of the running download is at most a second away. It runs when the client reads on.
    while since.elapsed() < Duration::from_secs(2) {
        room.anna.get("/v1/quota").await.expect(200);
    }
    let (read, is_whole) = drain(running).await;
    assert!(!is_whole && read < LARGE, "{read} bytes");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m5_admins_and_the_host_find_and_revoke_all_links_of_a_company() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let posted = room.file("a.txt").await;
    let path = format!("/v1/files/{}", posted.text("file_id"));
    room.ben.get_after(&path, &posted).await.expect(200);
    let tokens = format!("{path}/tokens");
    let issue = async |client: &Client| client.post(&tokens, &json!({ "expires_in_s": 3_600 })).await.expect(201);
    let (hidden, by_ben) = (issue(&room.anna).await, issue(&room.ben).await);
    let mut last = issue(&room.anna).await;
    for _ in 0..3 {
        last = issue(&room.anna).await;
        room.anna.delete(&format!("/v1/tokens/{}", last.text("id"))).await.expect(204);
    }
    let ids = |answer: &Answer| -> Vec<String> {
        let items = answer.body["items"].as_array().unwrap().iter();
        items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    // The list has pages, so that newer links do not hide older ones.
    let mut seen = Vec::new();
    let mut next = format!("{tokens}?limit=2");
    loop {
        let page = room.anna.get_after(&next, &last).await.expect(200);
        seen.extend(ids(&page));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        next = format!("{tokens}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.contains(&hidden.text("id")));
    let active = eventually("the revoked links to be left out", || async {
        let active = room.anna.get(&format!("{tokens}?active=true")).await.expect(200);
        (ids(&active).len() == 3).then_some(ids(&active))
    })
    .await;
    assert!(active.contains(&hidden.text("id")));
    // A company's admin and the host see and revoke the links of all users.
    let of_ben = room.path(&format!("/tokens?user_id={}", room.ben.principal.user_id));
    let company = room.admin.principal.company_id;
    let host = stack.client_for(company, &[waybill_http_kit::Role::Service]);
    for client in [&room.admin, &host] {
        assert_eq!(ids(&client.get(&of_ben).await.expect(200)), [by_ben.text("id")]);
    }
    room.ben.get(&of_ben).await.refused(403, "role_required");
    stack.client().get(&of_ben).await.refused(404, "not_found");
    let revoked = host.delete(&of_ben).await.expect(200);
    assert_eq!(revoked.body, json!({ "revoked": 1, "is_complete": true }));
    let http = reqwest::Client::new();
    let status = async |token: &Answer| {
        let url = format!("{}{}", stack.url(), token.text("url"));
        http.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(&by_ben).await, 410);
    room.admin.delete(&room.path(&format!("/tokens/{}", hidden.text("id")))).await.expect(204);
    assert_eq!(status(&hidden).await, 410);
    stack.finish().await;
}
