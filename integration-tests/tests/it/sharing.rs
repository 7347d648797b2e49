//! Files in chatrooms and threads: who sees them, in which order, and until when.

use crate::socket::{closed, connect, next, send, with_token};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_test_kit::eventually;

/// A company with a chatroom. Anna and Ben are members of the chatroom, Carl is not.
pub(crate) struct Room {
    pub(crate) admin: Client,
    pub(crate) anna: Client,
    pub(crate) ben: Client,
    pub(crate) carl: Client,
    pub(crate) chatroom: Uuid,
    pub(crate) thread: Uuid,
}

impl Room {
    pub(crate) async fn of(stack: &Stack) -> Self {
        let admin = stack.client();
        let company = admin.principal.company_id;
        let user = || stack.client_for(company, &[]);
        let room =
            Self { anna: user(), ben: user(), carl: user(), chatroom: Uuid::now_v7(), thread: Uuid::now_v7(), admin };
        room.keep(Method::Put, "").await;
        for client in [&room.anna, &room.ben, &room.carl] {
            room.keep(Method::Put, &format!("/users/{}", client.principal.user_id)).await;
        }
        room.keep(Method::Put, &format!("/chatrooms/{}", room.chatroom)).await;
        for client in [&room.anna, &room.ben] {
            room.keep(Method::Put, &room.member(client)).await;
        }
        let inside = json!({ "chatroom_id": room.chatroom });
        let thread = room.path(&format!("/threads/{}", room.thread));
        let last = room.admin.put(&thread, &inside).await.expect(204);
        // Waits until the tables contain the directory.
        room.admin.get_after("/v1/quota", &last).await.expect(200);
        room
    }

    pub(crate) fn path(&self, what: &str) -> String {
        format!("/v1/admin/companies/{}{what}", self.admin.principal.company_id)
    }

    pub(crate) fn member(&self, client: &Client) -> String {
        format!("/chatrooms/{}/members/{}", self.chatroom, client.principal.user_id)
    }

    pub(crate) async fn keep(&self, method: Method, what: &str) -> Answer {
        let answer = match method {
            Method::Put => self.admin.put(&self.path(what), &json!({})).await,
            Method::Delete => self.admin.delete(&self.path(what)).await,
        };
        assert!(answer.status < 300, "{answer:?}");
        answer
    }

    /// Uploads a file of Anna to the chatroom.
    pub(crate) async fn file(&self, name: &str) -> Answer {
        let query = format!("name={name}&mime_type=text/plain&chatroom_id={}", self.chatroom);
        self.anna.post_file(&query, "hello").await.expect(201)
    }

    pub(crate) fn listing(&self) -> String {
        format!("/v1/files?chatroom_id={}", self.chatroom)
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Method {
    Put,
    Delete,
}

fn names(answer: &Answer) -> Vec<String> {
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|item| item["original_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_of_a_chatroom_can_see_its_files() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let posted = room.file("a.txt").await;
    let file = posted.text("file_id");
    let shown = room.ben.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    assert_eq!(shown.body["chatroom_id"], json!(room.chatroom));
    assert_eq!(room.ben.content(&file).await, b"hello");
    for path in
        [format!("/v1/files/{file}"), format!("/v1/files/{file}/content"), format!("/v1/files/{file}/associations")]
    {
        room.carl.get(&path).await.refused(404, "not_found");
        stack.client().get(&path).await.refused(404, "not_found");
    }
    room.carl.get(&room.listing()).await.refused(404, "not_found");
    assert_eq!(names(&room.ben.get(&room.listing()).await.expect(200)), ["a.txt"]);
    // Members who see the file cannot delete or rename it.
    room.ben.delete(&format!("/v1/files/{file}")).await.refused(403, "not_permitted");
    let rename = json!({ "display_name": "b.txt" });
    room.ben.patch(&format!("/v1/files/{file}"), &rename).await.refused(403, "not_permitted");
    // Nobody can upload a file to a place of which they are no member.
    let query = format!("name=c.txt&mime_type=text/plain&chatroom_id={}", room.chatroom);
    room.carl.post_file(&query, "hello").await.refused(404, "not_found");
    let other = format!("name=c.txt&mime_type=text/plain&thread_id={}&chatroom_id={}", room.thread, Uuid::now_v7());
    room.anna.post_file(&other, "hello").await.refused(404, "not_found");
    // Members of the chatroom are members of its threads.
    let query = format!("name=t.txt&mime_type=text/plain&thread_id={}", room.thread);
    let in_thread = room.ben.post_file(&query, "hello").await.expect(201);
    let thread = format!("/v1/files?thread_id={}", room.thread);
    assert_eq!(names(&room.anna.get_after(&thread, &in_thread).await.expect(200)), ["t.txt"]);
    room.carl.get(&thread).await.refused(404, "not_found");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_files_come_first_and_pages_do_not_repeat() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let mut last = None;
    for number in 0..7 {
        last = Some(room.file(&format!("{number}.txt")).await);
    }
    let listed = room.anna.get_after(&room.listing(), last.as_ref().unwrap()).await.expect(200);
    let oldest = listed.body["items"][6].clone();
    assert_eq!(oldest["association"]["is_pinned"], false);
    let association = format!("/v1/associations/{}", oldest["association"]["id"].as_str().unwrap());
    room.ben.patch(&association, &json!({ "is_pinned": true })).await.refused(403, "not_permitted");
    let pinned = room.anna.patch(&association, &json!({ "is_pinned": true })).await.expect(204);
    let mut seen = Vec::new();
    let mut path = format!("{}&limit=3", room.listing());
    loop {
        let page = room.ben.get_after(&path, &pinned).await.expect(200);
        seen.extend(names(&page));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("{}&limit=3&cursor={cursor}", room.listing());
    }
    assert_eq!(seen, ["0.txt", "6.txt", "5.txt", "4.txt", "3.txt", "2.txt", "1.txt"]);
    let own = room.anna.get("/v1/files?limit=1").await.expect(200);
    let cursor = own.text("next_cursor");
    room.anna.get(&format!("{}&cursor={cursor}", room.listing())).await.refused(400, "cursor_invalid");
    let selective = room.anna.get(&format!("{}&view=list&limit=1", room.listing())).await.expect(200);
    let item = selective.body["items"][0].as_object().unwrap();
    assert_eq!(item["name"], "0.txt");
    assert!(!item.contains_key("hash"));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_a_piece_of_their_name_and_by_type() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    for name in ["Report_2026.txt", "report%20final.txt", "notes.txt"] {
        room.anna
            .post_file(&format!("name={name}&mime_type=text/plain&chatroom_id={}", room.chatroom), "hello")
            .await
            .expect(201);
    }
    let query = format!("name=a.json&mime_type=application/json&chatroom_id={}", room.chatroom);
    let last = room.anna.post_file(&query, "{}").await.expect(201);
    let found = async |query: &str| {
        let mut found = names(&room.ben.get_after(&format!("{}&{query}", room.listing()), &last).await.expect(200));
        found.sort();
        let mut own = names(&room.anna.get_after(&format!("/v1/files?{query}"), &last).await.expect(200));
        own.sort();
        assert_eq!(found, own, "{query}");
        found
    };
    assert_eq!(found("name=REPORT").await, ["Report_2026.txt", "report final.txt"]);
    assert_eq!(found("name=t_2").await, ["Report_2026.txt"]);
    assert_eq!(found("name=%25").await, Vec::<String>::new());
    assert_eq!(found("mime_type=application/json").await, ["a.json"]);
    assert_eq!(found("mime_type=text/*").await.len(), 3);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_gives_what_it_says_and_no_more() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.small_file("a.txt").await;
    let id = file.text("file_id");
    let path = format!("/v1/files/{id}");
    let shares = format!("{path}/associations");
    room.ben.get_after(&path, &file).await.refused(404, "not_found");
    let share = async |more: Value| {
        let mut body = json!({ "chatroom_id": room.chatroom });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        room.anna.post(&shares, &body).await
    };
    // An association for one user.
    let named = json!({ "access_type": "RESTRICTED",
        "permissions": { "users": { (room.ben.principal.user_id.to_string()): ["view"] } } });
    let restricted = share(named).await.expect(201);
    room.ben.get_after(&path, &restricted).await.expect(200);
    room.ben.get(&format!("{path}/content")).await.refused(403, "not_permitted");
    room.ben.post(&shares, &json!({ "chatroom_id": room.chatroom })).await.refused(403, "not_permitted");
    assert_eq!(names(&room.ben.get(&room.listing()).await.expect(200)), ["a.txt"]);
    room.keep(Method::Put, &room.member(&room.carl)).await;
    let listed = eventually("Carl to be a member", || async {
        let listed = room.carl.get(&room.listing()).await;
        (listed.status == 200).then_some(listed)
    })
    .await;
    assert_eq!(names(&listed), Vec::<String>::new());
    room.carl.get(&path).await.refused(404, "not_found");
    // An association for all members, with more than the default permissions.
    let association = format!("/v1/associations/{}", restricted.text("id"));
    let opened = json!({ "access_type": "PRIVATE", "permissions": { "everyone": ["view", "download", "share"] } });
    room.ben.patch(&association, &opened).await.refused(403, "not_permitted");
    let changed = room.anna.patch(&association, &opened).await.expect(204);
    room.carl.get_after(&path, &changed).await.expect(200);
    room.carl.post(&shares, &json!({ "thread_id": room.thread })).await.expect(201);
    // An association for the whole company.
    let outsider = stack.client_for(room.admin.principal.company_id, &[]);
    outsider.get(&path).await.refused(404, "not_found");
    // The file has an association with the chatroom already, which changes.
    let public = share(json!({ "access_type": "PUBLIC" })).await.expect(200);
    assert_eq!(public.text("id"), restricted.text("id"));
    outsider.get_after(&path, &public).await.expect(200);
    stack.client().get(&path).await.refused(404, "not_found");
    // Invalid associations are refused.
    share(json!({ "access_type": "RESTRICTED" })).await.refused(422, "association_invalid");
    share(json!({ "expires_at": "2020-01-01T00:00:00Z" })).await.refused(422, "association_invalid");
    room.anna.post(&shares, &json!({})).await.refused(422, "association_invalid");
    room.anna.post(&shares, &json!({ "chatroom_id": Uuid::now_v7() })).await.refused(404, "not_found");
    // An association ends at `expires_at`.
    let soon = chrono::Utc::now() + chrono::Duration::seconds(6);
    let brief = json!({ "expires_at": soon.to_rfc3339(), "access_type": "PUBLIC" });
    let public = format!("/v1/associations/{}", public.text("id"));
    let changed = room.anna.patch(&public, &brief).await.expect(204);
    outsider.get_after(&path, &changed).await.expect(200);
    eventually("the share to end", || async { (outsider.get(&path).await.status == 404).then_some(()) }).await;
    assert!(chrono::Utc::now() >= soon);
    stack.finish().await;
}

/// Waits until `path` answers 404 to `client`, and asserts that this happens within 1 s after `since`.
async fn gone_within_a_second(client: &Client, path: &str, since: Instant) {
    loop {
        let answer = client.get(path).await;
        if answer.status == 404 {
            assert!(since.elapsed() < Duration::from_secs(1), "{path} took {:?}", since.elapsed());
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(1), "{path} is still there: {answer:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_is_gone_within_a_second() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let files = [room.file("a.txt").await, room.file("b.txt").await, room.file("c.txt").await];
    let paths: Vec<String> = files.iter().map(|file| format!("/v1/files/{}/content", file.text("file_id"))).collect();
    for file in &files {
        room.ben.get_after(&format!("/v1/files/{}", file.text("file_id")), file).await.expect(200);
    }
    // The message was deleted.
    let since = Instant::now();
    room.keep(Method::Delete, &format!("/associations/{}", files[0].text("file_id"))).await;
    gone_within_a_second(&room.ben, &paths[0], since).await;
    assert_eq!(room.anna.content(&files[0].text("file_id")).await, b"hello");
    // The file was deleted.
    let since = Instant::now();
    room.anna.delete(&format!("/v1/files/{}", files[1].text("file_id"))).await.expect(204);
    gone_within_a_second(&room.ben, &paths[1], since).await;
    // The member was removed.
    let since = Instant::now();
    room.keep(Method::Delete, &room.member(&room.ben)).await;
    gone_within_a_second(&room.ben, &paths[2], since).await;
    room.ben.get(&room.listing()).await.refused(404, "not_found");
    // The user was removed.
    room.keep(Method::Delete, &format!("/users/{}", room.anna.principal.user_id)).await;
    let since = Instant::now();
    while room.anna.get("/v1/files").await.status != 403 {
        assert!(since.elapsed() < Duration::from_secs(1));
    }
    room.anna.start(1).await.refused(403, "not_registered");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chatroom_is_watched_by_its_members_until_they_are_none() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let topic = format!("chatroom:{}", room.chatroom);
    let mut stranger = with_token(stack.progress_url(), &room.carl).await;
    send(&mut stranger, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    assert_eq!(next(&mut stranger).await, json!({ "t": "err", "id": 1, "code": "not_found" }));
    let first = room.file("a.txt").await;
    room.ben.get_after(&room.listing(), &first).await.expect(200);
    let mut socket = with_token(stack.progress_url(), &room.ben).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    let snap = next(&mut socket).await;
    assert_eq!(snap["state"]["files"][0]["original_name"], "a.txt");
    assert!(snap["state"]["files"][0].get("storage_key").is_none());
    let second = room.file("b.txt").await;
    let event = next(&mut socket).await;
    assert_eq!(
        (&event["t"], &event["kind"], &event["file_id"]),
        (&json!("ev"), &json!("FileUploaded"), &second.body["file_id"])
    );
    // Events of files that only named users see are not sent to other members.
    let association = format!("/v1/associations/{}", second.text("file_id"));
    let named =
        json!({ "access_type": "RESTRICTED", "permissions": { "users": { (Uuid::now_v7().to_string()): ["view"] } } });
    room.anna.patch(&association, &named).await.expect(204);
    assert_eq!(next(&mut socket).await["kind"], "ShareChanged");
    let rename = |name: &str| json!({ "display_name": name });
    room.anna.patch(&format!("/v1/files/{}", second.text("file_id")), &rename("secret.txt")).await.expect(204);
    room.anna.patch(&format!("/v1/files/{}", first.text("file_id")), &rename("known.txt")).await.expect(204);
    let event = next(&mut socket).await;
    assert_eq!((&event["kind"], &event["display_name"]), (&json!("FileRenamed"), &json!("known.txt")));
    let since = Instant::now();
    room.keep(Method::Delete, &room.member(&room.ben)).await;
    assert_eq!(closed(&mut socket).await, 4003);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    room.keep(Method::Delete, &format!("/users/{}", room.carl.principal.user_id)).await;
    assert_eq!(closed(&mut stranger).await, 4003);
    let bearer = format!("Bearer {}", room.carl.token());
    assert_eq!(connect(stack.progress_url(), &[("authorization", bearer)]).await.err(), Some(403));
    stack.finish().await;
}

/// The sweep purges a deleted file. Its event is routed like the events of the upload.
#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_a_chatroom_hear_of_files_that_the_sweep_purges() {
    let args = ["--purge-after-s=1", "--worker-sweep-ms=100"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let room = Room::of(&stack).await;
    let file = room.file("a.txt").await;
    room.ben.get_after(&room.listing(), &file).await.expect(200);
    let mut socket = with_token(stack.progress_url(), &room.ben).await;
    send(&mut socket, json!({ "t": "sub", "id": 1, "topic": format!("chatroom:{}", room.chatroom) })).await;
    assert_eq!(next(&mut socket).await["t"], "snap");
    room.anna.delete(&format!("/v1/files/{}", file.text("file_id"))).await.expect(204);
    for kind in ["FileDeleted", "FilePurged"] {
        let event = next(&mut socket).await;
        assert_eq!((&event["kind"], &event["file_id"]), (&json!(kind), &file.body["file_id"]));
    }
    stack.finish().await;
}
