//! Sessions: several files that form one transfer.

use serde_json::{Value, json};
use waybill_integration_tests::{Client, Stack};
use waybill_test_kit::eventually;

async fn session_with(client: &Client, id: &str, status: &str) -> Value {
    eventually(&format!("session {id} to be {status}"), || async {
        let session = client.get(&format!("/v1/sessions/{id}")).await;
        (session.body["status"] == status).then_some(session.body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_ends_when_its_files_have() {
    let stack = Stack::start().await;
    let client = stack.client();
    let opened = client.post("/v1/sessions", &json!({ "name": "holiday" })).await.expect(201);
    let session = opened.text("session_id");
    let shown = client.get_after(&format!("/v1/sessions/{session}"), &opened).await.expect(200).body;
    assert_eq!(
        (&shown["session_name"], &shown["status"], &shown["total_files"]),
        (&json!("holiday"), &json!("ACTIVE"), &json!(0))
    );
    let of_session = json!({ "session_id": session });
    let upload = client.start_with(1_000, of_session.clone()).await.expect(201).text("upload_id");
    client.post_file(&format!("name=a.txt&mime_type=text/plain&session_id={session}"), "hello").await.expect(201);
    let closed = client.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.expect(204);
    client.start_with(1, of_session).await.refused(409, "session_ended");
    let shown = client.get_after(&format!("/v1/sessions/{session}"), &closed).await.expect(200).body;
    assert_eq!(
        (&shown["status"], &shown["total_files"], &shown["completed_files"]),
        (&json!("ACTIVE"), &json!(2), &json!(1))
    );
    assert_eq!((&shown["total_size"], &shown["uploaded_size"]), (&json!(1_005), &json!(5)));
    client.put_chunk(&upload, 0, vec![0; 1_000]).await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    let ended = session_with(&client, &session, "COMPLETED").await;
    assert_eq!(
        (&ended["completed_files"], &ended["uploaded_size"], &ended["failed_files"]),
        (&json!(2), &json!(1_005), &json!(0))
    );
    assert!(ended["completed_at"].is_string());
    let progress: Vec<&Value> =
        ended["files"].as_array().unwrap().iter().map(|file| &file["progress_percentage"]).collect();
    assert_eq!(progress, [100, 100]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_session_cancels_its_running_uploads_and_keeps_its_files() {
    let stack = Stack::start().await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let done =
        client.post_file(&format!("name=a.txt&mime_type=text/plain&session_id={session}"), "hello").await.expect(201);
    let of_session = json!({ "session_id": session });
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(client.start_with(100, of_session.clone()).await.expect(201).text("upload_id"));
    }
    client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    client.start_with(1, of_session).await.refused(409, "session_ended");
    for upload in running {
        eventually("a running upload to be cancelled", || async {
            let status = client.get(&format!("/v1/uploads/{upload}")).await;
            (status.body["status"] == "CANCELLED").then_some(())
        })
        .await;
    }
    stack.nothing_reserved(client.principal.company_id).await;
    client.file_with_status(&done.text("file_id"), "COMPLETED").await;
    let shown = session_with(&client, &session, "CANCELLED").await;
    assert_eq!((&shown["total_files"], &shown["completed_files"]), (&json!(4), &json!(1)));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_of_a_session_can_access_it() {
    let stack = Stack::start().await;
    let owner = stack.client();
    let opened = owner.post("/v1/sessions", &json!({})).await.expect(201);
    let session = opened.text("session_id");
    owner.get_after(&format!("/v1/sessions/{session}"), &opened).await.expect(200);
    for stranger in [stack.client(), stack.client_for(owner.principal.company_id, &[])] {
        stranger.get(&format!("/v1/sessions/{session}")).await.refused(404, "not_found");
        stranger.delete(&format!("/v1/sessions/{session}")).await.refused(404, "not_found");
        stranger.start_with(1, json!({ "session_id": session })).await.refused(404, "not_found");
    }
    stack.finish().await;
}
