//! Stored files: listing, renaming, deleting and restoring.

use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_file_once_newest_first() {
    let stack = Stack::start().await;
    let client = stack.client();
    let mut posted = Vec::new();
    for n in 0..7 {
        posted.push(client.small_file(&format!("{n}.txt")).await);
    }
    let last = posted.last().unwrap();
    let mut names = Vec::new();
    let mut page = client.get_after("/v1/files?limit=3", last).await.expect(200).body;
    loop {
        let items = page["items"].as_array().unwrap();
        names.extend(items.iter().map(|file| file["original_name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(items.len(), 3);
        page = client.get(&format!("/v1/files?limit=3&cursor={cursor}")).await.expect(200).body;
    }
    assert_eq!(names, (0..7).rev().map(|n| format!("{n}.txt")).collect::<Vec<_>>());

    let cursor = client.get("/v1/files?limit=3").await.text("next_cursor");
    let tampered = cursor.replacen(&cursor[30..31], if &cursor[30..31] == "A" { "B" } else { "A" }, 1);
    client.get(&format!("/v1/files?cursor={tampered}")).await.refused(400, "cursor_invalid");
    stack.client().get(&format!("/v1/files?cursor={cursor}")).await.refused(400, "cursor_invalid");
    client.get("/v1/files?status=NONSENSE").await.refused(400, "query_invalid");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_renamed_deleted_and_restored() {
    let stack = Stack::start().await;
    let client = stack.client();
    let posted = client.small_file("a.txt").await;
    let path = format!("/v1/files/{}", posted.text("file_id"));
    let patch = |name: &str| client.request(Method::PATCH, &path).json(&json!({ "display_name": name }));
    let renamed = client.send(patch("b.txt")).await.expect(204);
    let file = client.get_after(&path, &renamed).await.expect(200).body;
    assert_eq!((&file["display_name"], &file["original_name"]), (&json!("b.txt"), &json!("a.txt")));
    assert_eq!(file["download_url"], format!("{path}/content"));
    client.send(patch("../b")).await.refused(422, "name_invalid");

    let deleted = client.delete(&path).await.expect(204);
    let file = client.get_after(&path, &deleted).await.expect(200).body;
    assert!(file["deleted_at"].is_string() && file["download_url"].is_null());
    client.get(&format!("{path}/content")).await.refused(410, "file_deleted");
    assert_eq!(client.get("/v1/files").await.body["items"], json!([]));
    client.send(patch("c.txt")).await.refused(409, "file_deleted");
    let restored = client.post(&format!("{path}/restore"), &json!({})).await.expect(204);
    client.get_after(&path, &restored).await.expect(200);
    assert_eq!(client.content(&posted.text("file_id")).await, b"hello");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_never_given_out_is_refused() {
    let stack = Stack::start().await;
    let client = stack.client();
    client.small_file("a.txt").await;
    for position in ["0:999999", "7:1", "nonsense", "0"] {
        let request = client.request(Method::GET, "/v1/files").header("Waybill-Min-Position", position);
        client.send(request).await.refused(400, "position_invalid");
    }
    stack.finish().await;
}
