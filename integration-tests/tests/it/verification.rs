//! A file is readable only after its digest was verified. A file that failed is never readable.

use crate::random::{bytes, sha256};
use serde_json::json;
use waybill_integration_tests::{Client, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

/// Asserts that the upload failed with `code`, is not readable, has no reservation, and that its bytes are deleted.
async fn has_failed(stack: &Stack, client: &Client, upload: &str, code: &str) {
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!((status.text("status"), status.text("error_code")), ("FAILED".to_owned(), code.to_owned()));
    assert!(!status.text("error_message").is_empty());
    let row = client.file_with_status(upload, "FAILED").await;
    assert_eq!((&row["hash"], &row["download_url"], &row["is_processed"]), (&json!(null), &json!(null), &json!(false)));
    client.get(&format!("/v1/files/{upload}/content")).await.refused(409, "file_not_ready");
    stack.nothing_reserved(client.principal.company_id).await;
    eventually("the refused bytes to be deleted", || async {
        stack.store().list("").await.unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_declared_digest_fails_the_file() {
    let stack = Stack::start().await;
    let client = stack.client();
    let wrong = sha256(b"something else");
    let upload = client.start_with(1_000, json!({ "sha256": wrong })).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, bytes(40, 1_000)).await.expect(200);
    client.complete(&upload, &json!({})).await.refused(422, "digest_mismatch");
    has_failed(&stack, &client, &upload, "digest_mismatch").await;

    let upload = client.start(1_000).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, bytes(40, 1_000)).await.expect(200);
    client.complete(&upload, &json!({ "sha256": wrong })).await.refused(422, "digest_mismatch");
    has_failed(&stack, &client, &upload, "digest_mismatch").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_calls_itself_a_picture_fails() {
    let stack = Stack::start().await;
    let client = stack.client();
    let program = [b"\x7fELF\x02\x01\x01\0".to_vec(), bytes(41, 1_000)].concat();
    let picture = json!({ "name": "cat.png", "mime_type": "image/png" });
    let upload = client.start_with(program.len() as u64, picture).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, program).await.expect(200);
    client.complete(&upload, &json!({})).await.refused(422, "type_refused");
    has_failed(&stack, &client, &upload, "type_refused").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_readable_before_it_is_verified() {
    let stack = Stack::start().await;
    let client = stack.client();
    let started = client.start(1_000).await.expect(201);
    let upload = started.text("upload_id");
    let put = client.put_chunk(&upload, 0, bytes(42, 1_000)).await.expect(200);
    client.get_after(&format!("/v1/files/{upload}"), &put).await.expect(200);
    client.get(&format!("/v1/files/{upload}/content")).await.refused(409, "file_not_ready");
    assert_eq!(client.get("/v1/files").await.expect(200).body["items"], json!([]));
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    assert_eq!(client.content(&upload).await, bytes(42, 1_000));
    stack.finish().await;
}

/// Somebody overwrites a recorded part in the store. Stores that keep one version of a part refuse to complete the
/// multipart upload, and the file fails. SeaweedFS keeps both versions and uses the one that the event names.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_replaced_in_the_store_never_becomes_part_of_the_file() {
    const PART: usize = 8 * 1_024 * 1_024;
    let stack = Stack::start().await;
    let client = stack.client();
    let content = bytes(43, PART + 10);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, content[..PART].to_vec()).await.expect(200);
    client.put_chunk(&upload, 1, content[PART..].to_vec()).await.expect(200);
    let events = client.get(&format!("/v1/audit?file_id={upload}")).await.expect(200).body;
    let opened = events["items"].as_array().unwrap().iter().find(|event| event["type"] == "MultipartOpened").unwrap();
    let (key, id) =
        (opened["data"]["storage_key"].as_str().unwrap(), opened["data"]["storage_upload_id"].as_str().unwrap());
    let other = bytes(44, PART);
    let crc = waybill_object_store::crc64nvme(&other);
    stack.store().upload_part(key, id, 1, other.into(), crc).await.unwrap();
    let completed = client.complete(&upload, &json!({})).await;
    if completed.status == 200 {
        client.file_with_status(&upload, "COMPLETED").await;
        assert!(client.content(&upload).await == content, "the file has bytes that were not acknowledged");
    } else {
        completed.refused(422, "parts_differ");
        has_failed(&stack, &client, &upload, "parts_differ").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_an_upload_once_and_for_all() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(1_000).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, bytes(45, 1_000)).await.expect(200);
    client.delete(&format!("/v1/uploads/{upload}")).await.expect(204);
    client.delete(&format!("/v1/uploads/{upload}")).await.expect(204);
    client.put_chunk(&upload, 0, bytes(45, 1_000)).await.refused(410, "upload_ended");
    client.complete(&upload, &json!({})).await.refused(410, "upload_ended");
    assert_eq!(client.get(&format!("/v1/uploads/{upload}")).await.body["status"], "CANCELLED");
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish().await;
}
