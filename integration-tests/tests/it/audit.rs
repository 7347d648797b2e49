//! Who did what with each file.

use serde_json::{Value, json};
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_history_of_a_file_is_told() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(10).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, "0123456789").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    let rename = client.request(reqwest::Method::PATCH, &format!("/v1/files/{upload}"));
    client.send(rename.json(&json!({ "display_name": "b.bin" }))).await.expect(204);
    stack.nothing_reserved(client.principal.company_id).await;
    let path = format!("/v1/audit?file_id={upload}");
    let events = eventually("all events to be there", || async {
        let items = client.get(&path).await.expect(200).body["items"].as_array().unwrap().clone();
        (items.len() == 8).then_some(items)
    })
    .await;
    let mut types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    // The rename and the settlement are independent of each other.
    types[6..].sort_unstable();
    assert_eq!(
        types,
        [
            "QuotaReserved",
            "UploadStarted",
            "MultipartOpened",
            "ChunkUploaded",
            "FileCompleted",
            "FileVerified",
            "FileRenamed",
            "QuotaCommitted"
        ]
    );
    let find = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let user = format!("user:{}", client.principal.user_id);
    for kind in ["QuotaReserved", "UploadStarted", "ChunkUploaded", "FileCompleted", "FileRenamed"] {
        assert_eq!(find(kind)["actor"], user, "{kind}");
    }
    let caused = |kind: &str, by: &str| {
        assert_eq!(find(kind)["cause"], format!("event:{}", find(by)["position"].as_str().unwrap()));
    };
    caused("UploadStarted", "QuotaReserved");
    caused("FileVerified", "FileCompleted");
    caused("QuotaCommitted", "FileVerified");
    assert!(find("FileVerified")["actor"].as_str().unwrap().starts_with("worker:"));
    assert!(find("QuotaReserved")["cause"].as_str().unwrap().starts_with("request:"));
    for event in &events {
        assert!(event["time"].as_str().unwrap().ends_with('Z') && event["position"].is_string(), "{event}");
    }
    let times: Vec<&Value> = events.iter().map(|event| &event["time"]).collect();
    assert!(times.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str()), "{times:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_event_of_the_company_once() {
    let stack = Stack::start().await;
    let (client, other) = (stack.client(), stack.client());
    for _ in 0..3 {
        client.small_file("a.txt").await;
        other.small_file("b.txt").await;
    }
    stack.nothing_reserved(client.principal.company_id).await;
    // What the files have in common is said last.
    let whole = eventually("all events to be there", || async {
        let whole = client.get("/v1/audit?limit=1000").await.expect(200).body;
        let items = whole["items"].as_array().unwrap();
        let of_content = items.iter().filter(|item| item["type"].as_str().unwrap().starts_with("Content")).count();
        (of_content == 3).then_some(whole)
    })
    .await;
    assert_eq!(whole["next_cursor"], json!(null));
    let mut paged = Vec::new();
    let mut path = "/v1/audit?limit=4".to_owned();
    loop {
        let page = client.get(&path).await.expect(200).body;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=4&cursor={cursor}");
    }
    assert_eq!(Some(&paged), whole["items"].as_array());
    let company = client.principal.company_id.to_string();
    assert!(paged.iter().all(|event| event["subject"].as_str().unwrap().contains(&company)));

    let user = stack.client_for(client.principal.company_id, &[]);
    user.get("/v1/audit").await.refused(403, "role_required");
    let cursor = client.get("/v1/audit?limit=1").await.text("next_cursor");
    other.get(&format!("/v1/audit?cursor={cursor}")).await.refused(400, "cursor_invalid");
    stack.finish().await;
}
