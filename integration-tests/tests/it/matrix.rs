//! Tests for every row of the tables in docs/access.md: each kind of user, each relation and each operation.

use crate::sharing::{Method as Keep, Room};
use crate::socket::{next, send, with_token};
use reqwest::Method;
use serde_json::{Value, json};
use waybill_integration_tests::{Client, Stack};

/// Operations on a file, in the order of the columns of the table.
const OPERATIONS: [&str; 7] = ["view", "download", "token", "share", "manage", "change", "purge"];

/// Returns the statuses of all operations for one client. No operation changes the result of the next one.
async fn statuses(client: &Client, file: &str, association: &str, room: &Room) -> [u16; 7] {
    let path = format!("/v1/files/{file}");
    let answers = [
        client.get(&path).await,
        client.get(&format!("{path}/content")).await,
        client.post(&format!("{path}/tokens"), &json!({})).await,
        // The chatroom does not exist. Only a client that may share gets this error.
        client.post(&format!("{path}/associations"), &viewable(uuid::Uuid::now_v7())).await,
        client.patch(&format!("/v1/associations/{association}"), &json!({ "is_pinned": false })).await,
        client.patch(&path, &json!({ "display_name": "a.txt" })).await,
        client.delete(&format!("{path}?purge=maybe")).await,
    ];
    let _ = room;
    answers.map(|answer| match (answer.status, answer.body["code"].as_str(), answer.body["detail"].as_str()) {
        // The file allows the operation.
        (404, _, Some("there is no such chatroom")) => 201,
        (status, _, _) => status,
    })
}

/// Returns an association with a chatroom that grants only `view`, a permission that everybody who sees the file has.
fn viewable(chatroom: uuid::Uuid) -> serde_json::Value {
    json!({ "chatroom_id": chatroom, "permissions": { "everyone": ["view"] } })
}

/// Converts a row of the table to statuses.
fn row(cells: [&str; 6]) -> [u16; 6] {
    let allowed = [200, 200, 201, 201, 204, 204];
    std::array::from_fn(|column| match cells[column] {
        "yes" => allowed[column],
        status => status.parse().unwrap(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_files_table() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let posted = room.anna.small_file("a.txt").await;
    let file = posted.text("file_id");
    let shares = format!("/v1/files/{file}/associations");
    let company = room.admin.principal.company_id;
    let user = async || {
        let client = stack.client_for(company, &[]);
        room.keep(Keep::Put, &format!("/users/{}", client.principal.user_id)).await;
        room.keep(Keep::Put, &room.member(&client)).await;
        client
    };
    let (viewer, downloader, sharer, manager, usual) =
        (user().await, user().await, user().await, user().await, user().await);
    let grants = |client: &Client, grants: &[&str]| (client.principal.user_id.to_string(), json!(grants));
    let users: serde_json::Map<String, Value> = [
        grants(&viewer, &["view"]),
        grants(&downloader, &["view", "download"]),
        grants(&sharer, &["view", "share"]),
        grants(&manager, &["view", "manage"]),
    ]
    .into_iter()
    .collect();
    let body = json!({ "chatroom_id": room.chatroom, "permissions": { "users": users } });
    let shared = room.anna.post(&shares, &body).await.expect(201);
    let association = shared.text("id");
    room.anna.get_after(&format!("/v1/files/{file}"), &shared).await.expect(200);
    let auditor = stack.client_for(company, &[waybill_http_kit::Role::Auditor]);
    let foreign = stack.client();
    let seen = ["yes", "yes", "yes", "403", "403", "403"];
    let hidden = ["404"; 6];
    let table: [(&str, &Client, [&str; 6]); 10] = [
        ("the uploader", &room.anna, ["yes"; 6]),
        ("an admin", &room.admin, ["yes"; 6]),
        ("seen, as usual", &usual, seen),
        ("seen, may view", &viewer, ["yes", "403", "403", "403", "403", "403"]),
        ("seen, may download", &downloader, seen),
        ("seen, may share", &sharer, ["yes", "403", "403", "yes", "403", "403"]),
        ("seen, may manage", &manager, ["yes", "403", "403", "403", "yes", "403"]),
        ("no member", &room.carl, hidden),
        ("an auditor", &auditor, hidden),
        ("another company's admin", &foreign, hidden),
    ];
    for (who, client, cells) in table {
        let found = statuses(client, &file, &association, &room).await;
        let expected = row(cells);
        for (column, operation) in OPERATIONS.iter().enumerate().take(6) {
            assert_eq!(found[column], expected[column], "{who}: {operation}");
        }
        assert_eq!(found[6], 400, "{who}: an invalid `purge` is refused before the authorization");
    }
    // Only admins can purge.
    for client in [&room.anna, &usual, &room.carl, &auditor] {
        client.delete(&format!("/v1/files/{file}?purge=true")).await.refused(403, "role_required");
    }
    foreign.delete(&format!("/v1/files/{file}?purge=true")).await.refused(404, "not_found");
    // Only the uploader and admins see a deleted file. Nobody sees a purged file.
    let deleted = room.anna.delete(&format!("/v1/files/{file}")).await.expect(204);
    room.anna.get_after(&format!("/v1/files/{file}"), &deleted).await.expect(200);
    room.admin.get(&format!("/v1/files/{file}")).await.expect(200);
    usual.get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    let purged = room.admin.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    for client in [&room.anna, &room.admin, &usual] {
        client.get_after(&format!("/v1/files/{file}"), &purged).await.refused(404, "not_found");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_shares_table() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let company = room.admin.principal.company_id;
    let colleague = stack.client_for(company, &[]);
    let in_thread = stack.client_for(company, &[]);
    for client in [&colleague, &in_thread] {
        room.keep(Keep::Put, &format!("/users/{}", client.principal.user_id)).await;
    }
    room.keep(Keep::Put, &format!("/threads/{}/members/{}", room.thread, in_thread.principal.user_id)).await;
    let ben = room.ben.principal.user_id.to_string();
    let named = |who: &str| json!({ "users": { who: ["view"] } });
    let carl = room.carl.principal.user_id.to_string();
    // Columns: a member of the chatroom (Ben), a member of the thread only, a member of neither (Carl), a colleague.
    let table = [
        (
            "PUBLIC in the chatroom",
            json!({ "chatroom_id": room.chatroom, "access_type": "PUBLIC" }),
            [true, true, true, true],
        ),
        ("PRIVATE in the chatroom", json!({ "chatroom_id": room.chatroom }), [true, false, false, false]),
        ("PRIVATE in the thread", json!({ "thread_id": room.thread }), [true, true, false, false]),
        (
            "RESTRICTED to a member",
            json!({ "chatroom_id": room.chatroom, "access_type": "RESTRICTED", "permissions": named(&ben) }),
            [true, false, false, false],
        ),
        (
            "RESTRICTED to a non-member",
            json!({ "chatroom_id": room.chatroom, "access_type": "RESTRICTED", "permissions": named(&carl) }),
            [false, false, false, false],
        ),
    ];
    for (what, body, expected) in table {
        let file = room.anna.small_file("a.txt").await.text("file_id");
        let shared = room.anna.post(&format!("/v1/files/{file}/associations"), &body).await.expect(201);
        let clients = [&room.ben, &in_thread, &room.carl, &colleague];
        for (number, (client, sees)) in clients.into_iter().zip(expected).enumerate() {
            let answer = client.get_after(&format!("/v1/files/{file}"), &shared).await;
            assert_eq!(answer.status == 200, sees, "{what}: {number}: {answer:?}");
        }
        stack.client().get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_running_uploads_table_by_each_protocol() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let inside = json!({ "chatroom_id": room.chatroom });
    let upload = room.anna.start_with(5, inside.clone()).await.expect(201).text("upload_id");
    let mut in_direct_mode = inside.clone();
    in_direct_mode["mode"] = json!("direct");
    let direct = room.anna.start_with(5, in_direct_mode.clone()).await.expect(201).text("upload_id");
    let tus = |client: &Client, method: &str, upload: &str| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        client.request(method, &format!("/tus/{upload}")).header("Tus-Resumable", "1.0.0")
    };
    let foreign = stack.client();
    // Members of the chatroom do not see the file before it is verified.
    for stranger in [&room.ben, &room.carl, &foreign] {
        stranger.get(&format!("/v1/uploads/{upload}")).await.refused(404, "not_found");
        stranger.put_chunk(&upload, 0, "hello").await.refused(404, "not_found");
        stranger.complete(&upload, &json!({})).await.refused(404, "not_found");
        stranger.delete(&format!("/v1/uploads/{upload}")).await.refused(404, "not_found");
        for method in ["HEAD", "PATCH", "DELETE"] {
            let request = tus(stranger, method, &upload)
                .header("Upload-Offset", "0")
                .header("Content-Type", "application/offset+octet-stream");
            assert_eq!(request.send().await.unwrap().status().as_u16(), 404, "{method}");
        }
        let parts = format!("/v1/uploads/{direct}/parts");
        stranger.post(&parts, &json!({ "part_number": 1, "etag": "x" })).await.refused(404, "not_found");
    }
    // Nobody can start an upload in a place of which they are no member.
    for stranger in [&room.carl, &foreign] {
        stranger.start_with(5, inside.clone()).await.refused(404, "not_found");
        stranger.start_with(5, in_direct_mode.clone()).await.refused(404, "not_found");
        let metadata = base64_of(&room.chatroom.to_string());
        let created = stranger
            .request(Method::POST, "/tus/")
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Length", "5")
            .header("Upload-Metadata", format!("filename YS50eHQ=,filetype dGV4dC9wbGFpbg==,chatroom_id {metadata}"));
        assert_eq!(created.send().await.unwrap().status().as_u16(), 404);
        let mut socket = with_token(stack.progress_url(), stranger).await;
        let topics =
            [format!("chatroom:{}", room.chatroom), format!("thread:{}", room.thread), format!("upload:{upload}")];
        for (id, topic) in topics.into_iter().enumerate() {
            send(&mut socket, json!({ "t": "sub", "id": id, "topic": topic })).await;
            assert_eq!(next(&mut socket).await["code"], "not_found");
        }
    }
    for (who, topics) in [
        (&room.anna, vec![format!("upload:{upload}"), format!("chatroom:{}", room.chatroom)]),
        (&room.ben, vec![format!("chatroom:{}", room.chatroom), format!("thread:{}", room.thread)]),
        (&room.admin, vec![format!("upload:{upload}"), format!("thread:{}", room.thread)]),
    ] {
        let mut socket = with_token(stack.progress_url(), who).await;
        for (id, topic) in topics.into_iter().enumerate() {
            send(&mut socket, json!({ "t": "sub", "id": id, "topic": topic })).await;
            assert_eq!(next(&mut socket).await["t"], "snap", "{topic}");
        }
    }
    for client in [&room.anna, &room.admin] {
        client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
        assert_eq!(tus(client, "HEAD", &upload).send().await.unwrap().status().as_u16(), 200);
    }
    room.admin.put_chunk(&upload, 0, "hello").await.expect(200);
    room.anna.complete(&upload, &json!({})).await.expect(200);
    room.admin.delete(&format!("/v1/uploads/{direct}")).await.expect(204);
    stack.finish().await;
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
