//! The host product manages the directory.

use crate::socket::connect;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_integration_tests::{Options, Stack};

fn id() -> Uuid {
    Uuid::now_v7()
}

/// Returns the path of `what` in a company.
fn at(company: Uuid, what: &str) -> String {
    format!("/v1/admin/companies/{company}{what}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_can_repeat_every_change_of_a_directory() {
    let stack = Stack::start().await;
    let host = stack.host();
    let (company, user, room, thread) = (id(), id(), id(), id());
    host.get(&at(company, "")).await.refused(404, "not_found");
    host.put(&at(company, &format!("/users/{user}")), &json!({})).await.refused(404, "not_found");
    let settings = json!({ "max_file_bytes": 1_000, "allowed_mime_types": ["text/*"], "retention_days": 30,
        "storage_limit_bytes": 5_000 });
    for _ in 0..2 {
        let shown = host.put(&at(company, ""), &settings).await.expect(200);
        assert_eq!(shown.body["max_file_bytes"], 1_000);
        assert_eq!(shown.body["storage_limit_bytes"], 5_000);
        for path in
            [format!("/users/{user}"), format!("/chatrooms/{room}"), format!("/chatrooms/{room}/members/{user}")]
        {
            host.put(&at(company, &path), &json!({})).await.expect(204);
        }
        let inside = json!({ "chatroom_id": room });
        host.put(&at(company, &format!("/threads/{thread}")), &inside).await.expect(204);
        host.put(&at(company, &format!("/threads/{thread}/members/{user}")), &json!({})).await.expect(204);
    }
    let shown = host.get(&at(company, "")).await.expect(200);
    assert_eq!(shown.body["users"], 1);
    assert_eq!(shown.body["chatrooms"], 1);
    assert_eq!(shown.body["threads"], 1);
    for _ in 0..2 {
        for path in [
            format!("/threads/{thread}/members/{user}"),
            format!("/threads/{thread}"),
            format!("/chatrooms/{room}/members/{user}"),
            format!("/chatrooms/{room}"),
            format!("/users/{user}"),
        ] {
            host.delete(&at(company, &path)).await.expect(204);
        }
    }
    for _ in 0..2 {
        host.delete(&at(company, "")).await.expect(204);
    }
    assert_eq!(host.get(&at(company, "")).await.expect(200).body["is_closed"], true);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_come_in_one_request_all_or_none() {
    let stack = Stack::start().await;
    let host = stack.host();
    let (company, room) = (id(), id());
    host.put(&at(company, ""), &json!({})).await.expect(200);
    let users: Vec<Uuid> = (0..300).map(|_| id()).collect();
    let mut operations = vec![json!({ "op": "open_chatroom", "chatroom_id": room })];
    for user in &users {
        operations.push(json!({ "op": "register_user", "user_id": user }));
        operations.push(json!({ "op": "add_chatroom_member", "chatroom_id": room, "user_id": user }));
    }
    let mut with_a_fault: Vec<Value> = operations.clone();
    with_a_fault.push(json!({ "op": "add_chatroom_member", "chatroom_id": id(), "user_id": users[0] }));
    let bulk = at(company, "/bulk");
    let refused = host.post(&bulk, &json!({ "operations": with_a_fault })).await.refused(404, "not_found");
    assert_eq!(refused.body["index"], operations.len());
    assert_eq!(host.get(&at(company, "")).await.expect(200).body["users"], 0);
    let applied = host.post(&bulk, &json!({ "operations": operations })).await.expect(200);
    assert_eq!(applied.body["applied"], operations.len());
    host.post(&bulk, &json!({ "operations": operations })).await.expect(200);
    assert_eq!(host.get(&at(company, "")).await.expect(200).body["users"], users.len());
    let too_many = vec![operations[0].clone(); 1_001];
    host.post(&bulk, &json!({ "operations": too_many })).await.refused(413, "too_many_operations");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_hosts_and_admins_keep_a_directory_and_admins_their_own() {
    let stack = Stack::start().await;
    let admin = stack.client();
    let own = admin.principal.company_id.0;
    let user = stack.client_for(admin.principal.company_id, &[]);
    user.put(&at(own, ""), &json!({})).await.refused(403, "role_required");
    admin.put(&at(own, ""), &json!({})).await.expect(200);
    admin.put(&at(id(), ""), &json!({})).await.refused(404, "not_found");
    admin.put(&at(own, "/users/nobody"), &json!({})).await.refused(422, "id_invalid");
    admin.put(&at(own, ""), &json!({ "max_file_bytes": 0 })).await.refused(422, "settings_invalid");
    stack.host().start(1).await.refused(403, "user_required");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_registration_by_token_only_the_hosts_users_come_in() {
    let stack = Stack::with(Options { args: vec!["--auto-register=false".to_owned()], ..Options::default() }).await;
    let stranger = stack.client();
    stranger.start(1).await.refused(403, "not_registered");
    for path in ["/v1/files", "/v1/quota", "/v1/audit"] {
        stranger.get(path).await.refused(403, "not_registered");
    }
    let company = stranger.principal.company_id.0;
    let host = stack.host();
    host.put(&at(company, ""), &json!({})).await.expect(200);
    // An administrator of the company cannot register anybody before the host has registered the administrator.
    stranger
        .put(&at(company, &format!("/users/{}", stranger.principal.user_id)), &json!({}))
        .await
        .refused(403, "not_registered");
    let bearer = ("Authorization", format!("Bearer {}", stranger.token()));
    assert_eq!(connect(stack.url(), &[bearer]).await.err(), Some(403));
    host.put(&at(company, &format!("/users/{}", stranger.principal.user_id)), &json!({})).await.expect(204);
    stranger.start(1).await.expect(201);
    stack.finish().await;
}
