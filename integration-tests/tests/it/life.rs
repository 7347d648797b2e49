//! The life of a file after its upload: shared content, deletion, restoring and purging, with correct quota figures
//! throughout.

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use waybill_integration_tests::{Answer, Client, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

async fn objects(stack: &Stack) -> usize {
    stack.store().list("o/").await.unwrap().len()
}

async fn quota(client: &Client) -> (u64, u64) {
    let quota = client.get("/v1/quota").await.expect(200).body;
    (quota["storage_used_bytes"].as_u64().unwrap(), quota["file_count"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_of_the_same_bytes_are_one_object_until_the_last_is_gone() {
    const UPLOADS: u64 = 200;
    let stack = Stack::start().await;
    let client = stack.client();
    let stranger = stack.client();
    let upload = async |number: u64| {
        let path = format!("/v1/files?name={number}.txt&mime_type=text/plain");
        let answer = client.send_until_done(|| client.request(Method::POST, &path).body("the same")).await;
        answer.expect(201).text("file_id")
    };
    let files = join_all((0..UPLOADS).map(upload)).await;
    let foreign = stranger.post_file("name=a.txt&mime_type=text/plain", "the same").await.expect(201).text("file_id");
    eventually("one object for each company", || async { (objects(&stack).await == 2).then_some(()) }).await;
    eventually("the quota to count all files", || async {
        (quota(&client).await == (UPLOADS * 8, UPLOADS)).then_some(())
    })
    .await;
    eventually("the quota of the stranger to count the file", || async {
        (quota(&stranger).await == (8, 1)).then_some(())
    })
    .await;
    join_all(files.iter().map(async |file| assert_eq!(client.content(file).await, b"the same"))).await;
    let (last, others) = files.split_last().unwrap();
    for file in others {
        client.delete(&format!("/v1/files/{file}?purge=true")).await.expect(204);
    }
    eventually("the quota to count one file", || async { (quota(&client).await == (8, 1)).then_some(()) }).await;
    assert_eq!(client.content(last).await, b"the same");
    client.get(&format!("/v1/files/{}", files[0])).await.refused(404, "not_found");
    client.post(&format!("/v1/files/{}/restore", files[0]), &json!({})).await.refused(404, "not_found");
    client.delete(&format!("/v1/files/{last}?purge=true")).await.expect(204);
    eventually("the object to be gone", || async { (objects(&stack).await == 1).then_some(()) }).await;
    eventually("the quota to count nothing", || async { (quota(&client).await == (0, 0)).then_some(()) }).await;
    assert_eq!(stranger.content(&foreign).await, b"the same");
    // A new upload of the same bytes has a new object.
    let again = client.post_file("name=a.txt&mime_type=text/plain", "the same").await.expect(201).text("file_id");
    assert_eq!(client.content(&again).await, b"the same");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_can_be_restored_until_it_is_purged() {
    let args = ["--purge-after-s=8", "--worker-sweep-ms=100", "--recalculate-every-s=1"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let user = stack.client_for(client.principal.company_id, &[]);
    let (kept, gone) = (user.small_file("a.txt").await.text("file_id"), user.small_file("b.txt").await.text("file_id"));
    user.delete(&format!("/v1/files/{kept}?purge=true")).await.refused(403, "role_required");
    for file in [&kept, &gone] {
        user.delete(&format!("/v1/files/{file}")).await.expect(204);
    }
    let restored = user.post(&format!("/v1/files/{kept}/restore"), &json!({})).await.expect(204);
    user.get_after(&format!("/v1/files/{kept}"), &restored).await.expect(200);
    eventually("the file to be purged", || async { (quota(&client).await == (5, 1)).then_some(()) }).await;
    // The quota shows the purge first. The file's own subject follows with the purge, then with the release.
    let audit = format!("/v1/audit?file_id={gone}");
    let kinds = eventually("the release to be recorded on the file", || async {
        let events = client.get(&audit).await.expect(200);
        let items = events.body["items"].as_array().unwrap();
        let kinds: Vec<_> = items.iter().map(|item| item["type"].clone()).collect();
        kinds.contains(&json!("FileSpaceReleased")).then_some(kinds)
    })
    .await;
    for kind in ["FileUploaded", "FileDeleted", "FilePurged"] {
        assert!(kinds.contains(&json!(kind)), "{kind} in {kinds:?}");
    }
    let gone = format!("/v1/files/{gone}");
    eventually("the file to be gone", || async { (user.get(&gone).await.status == 404).then_some(()) }).await;
    user.get(&gone).await.refused(404, "not_found");
    // Both files had the same bytes. The remaining file still refers to them.
    assert_eq!(user.content(&kept).await, b"hello");
    // Meanwhile the quota was recalculated several times without a difference.
    let events = client.get("/v1/audit?limit=1000").await.expect(200);
    let items = events.body["items"].as_array().unwrap();
    let counted: Vec<_> = items.iter().filter(|item| item["type"] == "QuotaRecalculated").collect();
    assert!(counted.iter().any(|item| item["data"]["file_count"] == 2), "{counted:?}");
    assert!(counted.iter().all(|item| item["data"]["drift_bytes"] == 0 && item["data"]["drift_files"] == 0));
    stack.finish().await;
}

/// Runs a statement on the tables of a stack, between two batches of the projector: a batch that is under way would write its rows
/// over the change. Each batch begins with its checkpoint, which is locked here.
async fn on_tables(stack: &Stack, text: &str) {
    let statements = format!("BEGIN; SELECT FROM projection_checkpoint FOR UPDATE; {text}; COMMIT");
    stack.database("waybill").connection().await.unwrap().batch_execute(&statements).await.unwrap();
}

/// The current retention of the company applies. A restored file is kept for another retention period (correctness
/// S4-5).
#[tokio::test(flavor = "multi_thread")]
async fn files_are_deleted_after_their_retention_but_not_those_that_were_restored() {
    let args = vec!["--worker-sweep-ms=100".to_owned()];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}", client.principal.company_id);
    client.put(&path, &json!({ "retention_days": 30 })).await.expect(200);
    let age = async |file: &str, change: &str| {
        on_tables(
            &stack,
            &format!("UPDATE file SET created_at = created_at {change} interval '31 days' WHERE id = '{file}'"),
        )
        .await;
    };
    let deleted = async |file: &str| {
        eventually("the file to be deleted", || async {
            let listed = client.get("/v1/files?limit=1000").await.expect(200);
            let items = listed.body["items"].as_array().unwrap();
            items.iter().all(|item| item["id"] != file).then_some(())
        })
        .await;
    };
    let (first, second) = (client.small_file("a.txt").await.text("file_id"), client.small_file("b.txt").await);
    let second_id = second.text("file_id");
    client.get_after(&format!("/v1/files/{second_id}"), &second).await.expect(200);
    // Files with the same bytes are joined later, which would overwrite the changed rows.
    stack.settled().await;
    age(&first, "-").await;
    deleted(&first).await;
    let restored = client.post(&format!("/v1/files/{first}/restore"), &json!({})).await.expect(204);
    client.get_after(&format!("/v1/files/{first}"), &restored).await.expect(200);
    // When the second file is deleted, the sweep has checked the first file again.
    age(&second_id, "-").await;
    deleted(&second_id).await;
    client.get(&format!("/v1/files/{first}")).await.expect(200);
    let history = client.get(&format!("/v1/audit?file_id={first}")).await.expect(200);
    let items = history.body["items"].as_array().unwrap();
    assert_eq!(items.iter().filter(|item| item["type"] == "FileDeleted").count(), 1, "{items:?}");
    age(&first, "+").await;
    age(&second_id, "+").await;
    stack.finish().await;
}

/// A difference between the files of a company and its quota is reported without reading each file.
#[tokio::test(flavor = "multi_thread")]
async fn a_drift_between_files_and_quota_is_reported() {
    let args = ["--worker-sweep-ms=100", "--recalculate-every-s=1"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let file = client.small_file("a.txt").await;
    client.get_after(&format!("/v1/files/{}", file.text("file_id")), &file).await.expect(200);
    on_tables(&stack, "UPDATE storage_quota SET storage_used_bytes = storage_used_bytes + 7").await;
    client.small_file("b.txt").await;
    eventually("the drift to be reported", || async {
        let events = client.get("/v1/audit?limit=1000").await.expect(200);
        let items = events.body["items"].as_array().unwrap();
        items.iter().any(|item| item["type"] == "QuotaRecalculated" && item["data"]["drift_bytes"] == 7).then_some(())
    })
    .await;
    on_tables(&stack, "UPDATE storage_quota SET storage_used_bytes = storage_used_bytes - 7").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_metadata_change_and_the_history_says_so() {
    let stack = Stack::start().await;
    let client = stack.client();
    let file = client.small_file("a.txt").await.text("file_id");
    let path = format!("/v1/files/{file}");
    let changed = client.patch(&path, &json!({ "display_name": "b.txt", "metadata": { "a": [1] } })).await.expect(204);
    let shown = client.get_after(&path, &changed).await.expect(200).body;
    assert_eq!((&shown["display_name"], &shown["metadata"]), (&json!("b.txt"), &json!({ "a": [1] })));
    let cleared = client.patch(&path, &json!({ "metadata": null })).await.expect(204);
    let shown = client.get_after(&path, &cleared).await.expect(200).body;
    assert_eq!((&shown["display_name"], &shown["metadata"]), (&json!("b.txt"), &json!(null)));
    client.patch(&path, &json!({})).await.refused(400, "json_invalid");
    client.patch(&path, &json!({ "display_name": "../b" })).await.refused(422, "name_invalid");
    client.patch(&path, &json!({ "metadata": { "a": "x".repeat(9_000) } })).await.refused(413, "metadata_too_large");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_their_labels() {
    let stack = Stack::start().await;
    let client = stack.client();
    let mut paths = Vec::new();
    for name in ["a.txt", "b.txt", "c.txt"] {
        paths.push(format!("/v1/files/{}", client.small_file(name).await.text("file_id")));
    }
    let change = async |number: usize, body: Value| client.patch(&paths[number], &body).await.expect(204);
    change(0, json!({ "labels": ["signed", " contract ", "signed"] })).await;
    change(1, json!({ "labels": ["contract"] })).await;
    let last = change(2, json!({ "labels": ["lo\u{308}schen"] })).await;
    let shown = client.get_after(&paths[0], &last).await.expect(200).body;
    assert_eq!(shown["labels"], json!(["contract", "signed"]));
    let found = async |query: &str, after: &Answer| {
        let listed = client.get_after(&format!("/v1/files?{query}"), after).await.expect(200);
        let items = listed.body["items"].as_array().unwrap().iter();
        items.map(|item| item["original_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (query, names) in [
        ("label=contract", vec!["b.txt", "a.txt"]),
        ("label=l%C3%B6schen", vec!["c.txt"]),
        ("label=contr", vec![]),
        ("label=contract&name=a", vec!["a.txt"]),
    ] {
        assert_eq!(found(query, &last).await, names, "{query}");
    }
    // The list of a chatroom can be searched, too.
    let (room, admin) = (Uuid::now_v7(), format!("/v1/admin/companies/{}", client.principal.company_id));
    client.put(&format!("{admin}/chatrooms/{room}"), &json!({})).await.expect(204);
    for name in ["d.txt", "e.txt"] {
        let query = format!("name={name}&mime_type=text/plain&chatroom_id={room}");
        paths.push(format!("/v1/files/{}", client.post_file(&query, "hello").await.expect(201).text("file_id")));
    }
    let change = async |number: usize, body: Value| client.patch(&paths[number], &body).await.expect(204);
    let last = change(4, json!({ "labels": ["contract"] })).await;
    assert_eq!(found(&format!("label=contract&chatroom_id={room}"), &last).await, ["e.txt"]);
    change(4, json!({ "labels": ["other"] })).await;
    let removed = change(0, json!({ "labels": [] })).await;
    assert_eq!(found("label=contract", &removed).await, ["b.txt"]);
    let shown = client.get_after(&paths[0], &removed).await.expect(200).body;
    assert_eq!(shown["labels"], json!([]));
    let removed = change(2, json!({ "labels": null })).await;
    assert_eq!(found("label=l%C3%B6schen", &removed).await, Vec::<String>::new());

    let many: Vec<String> = (0..51).map(|number| number.to_string()).collect();
    for labels in [vec![" ".to_owned()], vec!["x".repeat(101)], vec!["a\u{7}".to_owned()], many] {
        client.patch(&paths[0], &json!({ "labels": labels })).await.refused(422, "labels_invalid");
    }
    client.get("/v1/files?label=%20").await.refused(422, "labels_invalid");
    let stranger = stack.client();
    let listed = stranger.get_after("/v1/files?label=contract", &removed).await.expect(200);
    assert_eq!(listed.body["items"], json!([]));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_companys_own_limits_hold() {
    let stack = Stack::start().await;
    let client = stack.client();
    let settings = json!({ "max_file_bytes": 10, "max_session_bytes": 15, "allowed_mime_types": ["text/*"] });
    let path = format!("/v1/admin/companies/{}", client.principal.company_id);
    let set = client.put(&path, &settings).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    client.start_with(11, json!({ "mime_type": "text/plain" })).await.refused(413, "file_too_large");
    client.start(10).await.refused(415, "type_refused");
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let inside = json!({ "mime_type": "text/plain", "session_id": session });
    client.start_with(10, inside.clone()).await.expect(201);
    client.start_with(6, inside.clone()).await.refused(413, "session_too_large");
    client.start_with(5, inside).await.expect(201);
    // The type of the content counts, too.
    let query = "name=a.txt&mime_type=text/plain";
    client.post_file(query, b"%PDF-1.4\n".to_vec()).await.refused(415, "type_refused");
    let lifted = client.put(&path, &json!({})).await.expect(200);
    client.get_after("/v1/quota", &lifted).await.expect(200);
    client.start(11).await.expect(201);
    stack.finish().await;
}

/// The tasks of the sweep are independent: a blocked query does not keep uploads from expiring (correctness S1-2).
#[tokio::test(flavor = "multi_thread")]
async fn uploads_end_while_another_kind_of_the_sweep_gets_no_answer() {
    let args = ["--upload-lifetime-s=8", "--expiry-grace-s=0", "--worker-sweep-ms=100", "--recalculate-every-s=1"];
    let args = args.map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let started = client.start(10).await.expect(201);
    let upload = started.text("upload_id");
    client.get_after(&format!("/v1/files/{upload}"), &started).await.expect(200);
    let mut locking = stack.database("waybill").connection().await.unwrap();
    locking.batch_execute("BEGIN; LOCK TABLE file IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let before = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(before.body["error_code"], serde_json::Value::Null, "the upload expired before the table was locked");
    eventually("the upload to end", || async {
        let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
        (status.body["error_code"] == "upload_expired").then_some(())
    })
    .await;
    locking.batch_execute("ROLLBACK").await.unwrap();
    stack.finish().await;
}
