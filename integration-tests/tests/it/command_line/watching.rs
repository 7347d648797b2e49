//! `waybill watch` and `waybill audit --follow`.

use crate::random::bytes;
use serde_json::json;
use waybill_integration_tests::{CommandLine, Stack};
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_watched_to_its_end() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let watch = CommandLine::start(&client, home.path(), "watch", &["--session", &session]);
    eventually("the snapshot to arrive", || async { watch.events().into_iter().find(|frame| frame["t"] == "snap") })
        .await;
    client.post_file(&format!("name=a.txt&mime_type=text/plain&session_id={session}"), "hello").await.expect(201);
    client.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.expect(204);
    assert_eq!(watch.ended().await.code, Some(0));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_watched_and_its_events_followed() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let content = bytes(740, 9_000_000);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    let watch = CommandLine::start(&client, home.path(), "watch", &[&upload]);
    eventually("the snapshot to arrive", || async { watch.events().into_iter().find(|frame| frame["t"] == "snap") })
        .await;
    let follow = CommandLine::start_plain(&client, home.path(), "audit", &["--follow", "--file", &upload]);
    eventually("the first events", || async {
        follow.events().into_iter().find(|event| event["type"] == "UploadStarted")
    })
    .await;
    for (index, chunk) in content.chunks(8 * 1_024 * 1_024).enumerate() {
        client.put_chunk(&upload, index, chunk.to_vec()).await.expect(200);
    }
    client.complete(&upload, &json!({})).await.expect(200);
    let watched = watch.ended().await;
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.events.iter().any(|frame| frame["kind"] == "FileVerified"), "{watched:?}");
    eventually("the last event", || async {
        follow.events().into_iter().find(|event| event["type"] == "FileVerified")
    })
    .await;
    let positions: Vec<u64> = follow
        .events()
        .iter()
        .map(|event| event["position"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap())
        .collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "an event is repeated or out of order: {positions:?}");
    stack.finish().await;
}
