//! Creation of uploads, and HEAD.

use super::{NAMED, is_file, limits, open, stored};
use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use reqwest::Method;
use serde_json::{Value, json};
use waybill_integration_tests::Stack;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn create_1_any_method_with_content_begins_an_upload_and_no_content_is_an_empty_file() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        let upload = draft.send(method.clone(), "/tus/", &[("Upload-Complete", "?0")], "he").await.expect(201);
        let upload = upload.with("Upload-Complete", "?0").location();
        draft.append(&upload, 2, true, "llo").await.expect(200);
        is_file(&draft.client, &upload, b"hello").await;
        let whole = draft.send(method.clone(), "/tus/", &[("Upload-Complete", "?1")], "hello").await.expect(201);
        is_file(&draft.client, &whole.with("Upload-Complete", "?1").location(), b"hello").await;
        let empty = draft.send(method, "/tus/", &[("Upload-Complete", "?1")], "").await.expect(201);
        is_file(&draft.client, &empty.with("Upload-Complete", "?1").location(), b"").await;
    }
    // The header `Upload-Complete` alone selects the draft.
    let unversioned = Speaker::plain(stack.client());
    let upload = unversioned.post(&[("Upload-Complete", "?0")], "he").await.expect(201).location();
    unversioned.append(&upload, 2, true, "llo").await.expect(200).with("Upload-Complete", "?1");
    is_file(&unversioned.client, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_5_append_8_however_the_bytes_came_the_answer_is_the_files() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_020, 1_000);
    let file = [("Upload-Complete", "?0"), ("Content-Type", "text/plain"), ("Content-Disposition", NAMED)];
    let at_once = [("Upload-Complete", "?1"), file[1], file[2]];
    let at_once = draft.post(&at_once, content.clone()).await.expect(201).with("Upload-Complete", "?1");
    let upload = draft.post(&file, content[..300].to_vec()).await.expect(201).location();
    draft.append(&upload, 300, false, content[300..600].to_vec()).await.expect(204);
    let in_pieces = draft.append(&upload, 600, true, content[600..].to_vec()).await.expect(200);
    let in_pieces = in_pieces.with("Upload-Complete", "?1");
    assert_eq!(at_once.header("Content-Type"), in_pieces.header("Content-Type"));
    let (at_once, in_pieces) = (at_once.json(), in_pieces.json());
    assert_eq!(in_pieces["file_id"], id_of(&upload));
    for answer in [&at_once, &in_pieces] {
        assert_eq!((&answer["sha256"], &answer["size_bytes"]), (&json!(sha256(&content)), &json!(1_000)));
        let id = answer["file_id"].as_str().unwrap();
        let file = draft.client.file_with_status(id, "COMPLETED").await;
        assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("a letter.txt"), &json!("text/plain")));
    }
    let members = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&at_once), members(&in_pieces));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_6_7_8_12_a_creation_without_the_last_bytes_says_where_to_go_on() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for content in ["", "he"] {
        for headers in [&[("Upload-Complete", "?0")][..], &[("Upload-Complete", "?0"), ("Upload-Length", "5")][..]] {
            let created = draft.post(headers, content).await.expect(201).with("Upload-Complete", "?0");
            let created = created.with("Upload-Offset", &content.len().to_string());
            assert!(limits(&created).contains_key("max-size"));
            let upload = created.location();
            draft.append(&upload, content.len(), true, "hello"[content.len()..].to_owned()).await.expect(200);
            is_file(&draft.client, &upload, b"hello").await;
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_14_15_what_came_of_an_interrupted_creation_is_kept_and_is_not_complete() {
    let stack = Stack::start().await;
    for complete in ["?0", "?1"] {
        let draft = Speaker::draft(stack.client(), 9);
        let content = bytes(2_030, 1_000);
        let headers = [("Upload-Complete", complete), ("Upload-Length", "1000")];
        drop(draft.begin("POST", "/tus/", &headers, 1_000, &content[..400]));
        // Without a 104 the client does not know the URL. The list of its files has the upload.
        let upload = eventually("the upload to be listed", || async {
            for status in ["PENDING", "PROCESSING"] {
                let files = draft.client.get(&format!("/v1/files?status={status}")).await.expect(200);
                if let Some(id) = files.body["items"][0]["id"].as_str() {
                    return Some(format!("/tus/{id}"));
                }
            }
            None
        })
        .await;
        stored(&draft.client, &upload, 400).await;
        let head = draft.head(&upload).await.expect(204).with("Upload-Complete", "?0").with("Upload-Offset", "400");
        head.with("Upload-Length", "1000");
        draft.append(&upload, 400, true, content[400..].to_vec()).await.expect(200);
        is_file(&draft.client, &upload, &content).await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_1_2_3_4_5_an_upload_says_all_that_a_client_needs_to_go_on() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for method in [Method::HEAD, Method::GET] {
        let look = async |upload: &str| {
            let told = draft.send(method.clone(), upload, &[], "").await.expect(204).with("Cache-Control", "no-store");
            assert!(limits(&told).contains_key("max-age"));
            told
        };
        let upload = open(&draft, Some(5)).await;
        look(&upload).await.with("Upload-Offset", "0").with("Upload-Complete", "?0").with("Upload-Length", "5");
        draft.append(&upload, 0, false, "he").await.expect(204);
        look(&upload).await.with("Upload-Offset", "2").with("Upload-Complete", "?0").with("Upload-Length", "5");
        draft.append(&upload, 2, true, "llo").await.expect(200);
        if method == Method::GET {
            let finished = draft.send(Method::GET, &upload, &[], "").await.expect(200);
            assert_eq!(finished.body, b"hello", "GET returns the content of a finished upload");
        } else {
            look(&upload).await.with("Upload-Offset", "5").with("Upload-Complete", "?1").with("Upload-Length", "5");
        }
        let of_any_length = open(&draft, None).await;
        look(&of_any_length).await.with("Upload-Offset", "0").with("Upload-Complete", "?0").without("Upload-Length");
    }
    draft.head("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strat_1_a_target_without_resumption_takes_the_upload_as_it_is() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let headers = [("Upload-Complete", "?1"), ("Upload-Length", "5")];
    let posted = draft.send(Method::POST, "/v1/files?name=a.txt&mime_type=text/plain", &headers, "hello").await;
    let posted = posted.expect(201).without("Upload-Complete").without("Upload-Limit");
    let id = posted.json()["file_id"].as_str().unwrap().to_owned();
    assert_eq!(draft.client.content(&id).await, b"hello");
    draft.options("/v1/files", &[]).await.without("Upload-Limit");
    stack.finish().await;
}
