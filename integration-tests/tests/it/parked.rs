//! What cannot be read is parked, and the rest goes on.

use serde_json::json;
use waybill_event_log::EventLog;
use waybill_integration_tests::Stack;
use waybill_schema::{Aggregate, Subject};
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_holds_up_its_aggregate_alone() {
    let stack = Stack::start().await;
    let client = stack.client();
    let started = client.start(10).await.expect(201);
    let upload = started.text("upload_id");
    let subject = Subject::new(client.principal.company_id, Aggregate::UploadLifecycle(upload.parse().unwrap()));
    let message = async_nats::jetstream::message::PublishMessage::build()
        .header("Waybill-Type", "InventedLater")
        .header("Waybill-Version", "7")
        .header("Waybill-Schema", "postcard/1")
        .header("Waybill-Time", "1764000000000")
        .header("Waybill-Actor", "service:later")
        .header("Waybill-Causation", "event:0:1")
        .payload("x".into());
    let jetstream = async_nats::jetstream::new(stack.nats().await);
    let appended = jetstream.send_publish(subject.to_nats(stack.log().partitions()), message).await.unwrap();
    let seq = appended.await.unwrap().sequence;

    // The gateway does not decide on what it cannot read, and says that it is its fault.
    client.complete(&upload, &json!({})).await.refused(500, "internal");
    let posted = client.small_file("after.txt").await;
    client.get_after(&format!("/v1/files/{}", posted.text("file_id")), &posted).await.expect(200);
    let shown = client.get(&format!("/v1/files/{upload}")).await.expect(200).body;
    assert_eq!(shown["processing_status"], "PENDING", "what was folded before stays");
    let events = eventually("the unreadable event to be in the audit", || async {
        let items = client.get("/v1/audit?limit=1000").await.expect(200).body["items"].as_array().unwrap().clone();
        items.iter().any(|event| event["position"] == format!("0:{seq}")).then_some(items)
    })
    .await;
    let unreadable = events.iter().find(|event| event["position"] == format!("0:{seq}")).unwrap();
    assert!(unreadable["unreadable"].as_str().unwrap().contains("InventedLater"), "{unreadable}");
    stack.finish_with_parked(1).await;
}
