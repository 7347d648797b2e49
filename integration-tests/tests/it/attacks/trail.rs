//! Attacks on the audit trail: refusals that cannot be found, or that push out others.

use crate::sharing::Room;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_schema::names::RecordKind;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn m9_auditors_read_the_trail_of_a_closed_company_and_find_every_spelling_of_an_id() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let company = room.admin.principal.company_id;
    let auditor = stack.client_for(company, &[waybill_http_kit::Role::Auditor]);
    let file = room.anna.small_file("a.txt").await.text("file_id");
    for spelling in [file.replace('-', ""), file.to_uppercase(), format!("%7B{file}%7D")] {
        room.carl.get(&format!("/v1/files/{spelling}")).await.refused(404, "not_found");
    }
    // Of a flood, the first refusals are kept.
    for _ in 0..120 {
        room.ben.get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    }
    let of = |client: &Client| {
        let id = client.principal.user_id;
        format!("/v1/audit?refusals=true&limit=1000&file_id={file}&actor={id}")
    };
    for (client, kept) in [(&room.carl, 3), (&room.ben, 100)] {
        eventually("the refusals to be kept", || async {
            let found = auditor.get(&of(client)).await.expect(200);
            (found.body["items"].as_array().unwrap().len() == kept).then_some(())
        })
        .await;
    }
    let host = stack.client_for(company, &[waybill_http_kit::Role::Service]);
    host.delete(&room.path("")).await.expect(204);
    eventually("the company to be closed", || async { (room.anna.get("/v1/files").await.status == 403).then_some(()) })
        .await;
    auditor.get("/v1/audit").await.expect(200);
    auditor.get(&of(&room.ben)).await.expect(200);
    auditor.get("/v1/files").await.refused(403, "not_registered");
    stack.finish().await;
}

/// Returns the entries of an audit page.
fn items(answer: &Answer) -> Vec<Value> {
    answer.body["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_downloads_and_lists_are_recorded_once_an_hour_for_each_user() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let auditor = stack.client_for(room.admin.principal.company_id, &[waybill_http_kit::Role::Auditor]);
    let posted = room.file("a.txt").await;
    let file = posted.text("file_id");
    room.ben.get_after(&format!("/v1/files/{file}"), &posted).await.expect(200);
    let list = format!("/v1/files?chatroom_id={}", room.chatroom);
    for client in [&room.ben, &room.admin] {
        for _ in 0..3 {
            client.content(&file).await;
            client.get(&list).await.expect(200);
        }
    }
    room.carl.get(&format!("/v1/files/{file}/content")).await.refused(404, "not_found");
    for (client, kind) in [(&room.ben, "download"), (&room.ben, "list"), (&room.admin, "download")] {
        let id = client.principal.user_id;
        let path = format!("/v1/audit?reads=true&actor={id}&kind={kind}");
        let found = eventually("the read to be recorded", || async {
            let found = items(&auditor.get(&path).await.expect(200));
            (!found.is_empty()).then_some(found)
        })
        .await;
        // The test can begin in one hour and end in the next one.
        let hours: BTreeSet<&str> = found.iter().map(|read| &read["time"].as_str().unwrap()[..13]).collect();
        assert_eq!(found.len(), hours.len(), "{found:?}");
        for read in &found {
            assert_eq!((&read["actor"], &read["action"]), (&json!(format!("user:{id}")), &json!(kind)));
            assert!(read["address"].is_string() && read["cause"].as_str().unwrap().starts_with("request:"), "{read}");
            let target =
                if kind == "list" { ("chatroom_id", room.chatroom.to_string()) } else { ("file_id", file.clone()) };
            assert_eq!(read[target.0], target.1);
        }
    }
    let uses = format!("/v1/audit?reads=true&kind=audit&actor={}", auditor.principal.user_id);
    eventually("the use of the audit to be recorded", || async {
        let found = items(&auditor.get(&uses).await.expect(200));
        (!found.is_empty()).then_some(())
    })
    .await;
    let of_file = items(&auditor.get(&format!("/v1/audit?reads=true&file_id={file}")).await.expect(200));
    let carl = format!("user:{}", room.carl.principal.user_id);
    assert!(of_file.len() >= 2 && of_file.iter().all(|read| read["actor"] != carl), "{of_file:?}");
    auditor.get("/v1/audit?reads=true&refusals=true").await.refused(400, "query_invalid");
    room.ben.get("/v1/audit?reads=true").await.refused(403, "role_required");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_a_read_that_must_be_recorded_and_cannot_be_is_refused() {
    for (mode, status) in [("on", 200), ("strict", 503), ("off", 200)] {
        let args = vec![format!("--audit-reads={mode}")];
        let stack = Stack::with(Options { args, ..Options::default() }).await;
        let client = stack.client();
        let file = client.small_file("a.txt").await.text("file_id");
        client.file_with_status(&file, "COMPLETED").await;
        let jetstream = async_nats::jetstream::new(stack.nats().await);
        jetstream.delete_stream(RecordKind::Read.stream(0)).await.unwrap();
        for path in [format!("/v1/files/{file}/content"), "/v1/files".to_owned()] {
            let answer = client.get(&path).await;
            assert_eq!(answer.status, status, "{mode} {path}");
        }
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_a_client_cannot_choose_the_cause_of_its_events() {
    let stack = Stack::start().await;
    let client = stack.client();
    let of_another = uuid::Uuid::now_v7().to_string();
    let request = client.request(reqwest::Method::POST, "/v1/files?name=a.txt&mime_type=text/plain").body("hello");
    let answer = request.header("X-Request-ID", &of_another).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.status(), 201);
    assert_ne!(id, of_another);
    let file: Value = answer.json().await.unwrap();
    let path = format!("/v1/audit?file_id={}", file["file_id"].as_str().unwrap());
    let causes: Vec<Value> =
        items(&client.get(&path).await.expect(200)).iter().map(|event| event["cause"].clone()).collect();
    assert!(causes.contains(&json!(format!("request:{id}"))), "{causes:?}");
    assert!(!causes.contains(&json!(format!("request:{of_another}"))), "{causes:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m9_the_history_of_a_file_contains_its_associations_and_links() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let file = room.anna.small_file("a.txt").await.text("file_id");
    let share = json!({ "chatroom_id": room.chatroom });
    room.anna.post(&format!("/v1/files/{file}/associations"), &share).await.expect(201);
    let issued = room.anna.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201);
    room.anna.delete(&format!("/v1/tokens/{}", issued.text("id"))).await.expect(204);
    let other = room.file("b.txt").await.text("file_id");
    room.anna.post(&format!("/v1/files/{other}/tokens"), &json!({})).await.expect(201);
    let kinds = eventually("the history to have all events", || async {
        let found = items(&room.admin.get(&format!("/v1/audit?file_id={file}")).await.expect(200));
        let kinds: Vec<String> = found.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        kinds.contains(&"DownloadTokenRevoked".to_owned()).then_some(kinds)
    })
    .await;
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!([count("FileUploaded"), count("FileShared"), count("DownloadTokenIssued")], [1, 1, 1], "{kinds:?}");
    stack.finish().await;
}
