//! Security considerations.

use super::{NAMED, is_file, open};
use crate::speaker::{Speaker, id_of};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;
use waybill_http_kit::Principal;
use waybill_integration_tests::{Client, Stack};
use waybill_service_kit::now;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn sec_1_6_an_upload_is_its_owners_from_the_first_byte_to_the_last() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let owner = &draft.client;
    let upload = open(&draft, Some(5)).await;
    draft.append(&upload, 0, false, "he").await.expect(204);
    let expired = Principal { expires_at: now().plus_ms(-60_000), ..owner.principal.clone() };
    let expired = Client::new(stack.url().to_owned(), stack.token(&expired), owner.principal.clone());
    let colleague = stack.client_for(owner.principal.company_id, &[]);
    for (client, status) in [(stack.client(), 404), (colleague, 404), (expired, 401)] {
        let other = Speaker::draft(client, 9);
        let told = other.head(&upload).await.expect(status).without("Upload-Offset").without("Upload-Length");
        assert!(!told.headers.contains_key("Upload-Limit"));
        other.append(&upload, 2, false, "x").await.expect(status).without("Upload-Offset");
        other.append(&upload, 0, false, "x").await.expect(status).without("Upload-Offset");
        // A client without the right to it cannot complete the upload either.
        other.append(&upload, 2, true, "llo").await.expect(status).with("Upload-Complete", "?0");
        other.delete(&upload).await.expect(status);
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "2").with("Upload-Complete", "?0");
    draft.append(&upload, 2, true, "llo").await.expect(200);
    is_file(owner, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_6_an_upload_cannot_be_completed_into_a_session_that_was_cancelled() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let session = draft.client.post("/v1/sessions", &json!({ "name": "move" })).await.expect(201).text("session_id");
    let path = format!("/tus/?session_id={session}");
    let headers = [("Upload-Complete", "?0"), ("Upload-Length", "5")];
    let upload = draft.send(Method::POST, &path, &headers, "he").await.expect(201).location();
    draft.client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    eventually("the upload to end with its session", || async {
        (draft.head(&upload).await.status == 410).then_some(())
    })
    .await;
    draft.append(&upload, 2, true, "llo").await.refused(410, "upload_ended");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_2_3_an_uploads_url_is_its_random_id_and_nothing_else() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let Principal { company_id, user_id, .. } = &draft.client.principal;
    let mut tails = BTreeSet::new();
    for _ in 0..20 {
        let upload = open(&draft, Some(5)).await;
        let id = uuid::Uuid::parse_str(upload.strip_prefix("/tus/").unwrap()).unwrap();
        assert!(id != company_id.0 && id != user_id.0);
        tails.insert(id.as_u64_pair().1);
    }
    // Nobody can guess the next id: apart from the time, 62 bits are random.
    let tails: Vec<u64> = tails.into_iter().collect();
    assert_eq!(tails.len(), 20);
    assert!(tails.windows(2).all(|pair| pair[1] - pair[0] > 1_000_000), "{tails:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_4_what_is_said_of_a_file_is_checked() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    for name in ["../etc/passwd", "/etc/passwd", "a%2fb", "..", "C:\\\\a"] {
        let disposition = format!("inline; filename=\"{name}\"");
        let headers = [("Upload-Complete", "?0"), ("Content-Disposition", disposition.as_str())];
        draft.post(&headers, "").await.refused(422, "name_invalid").without("Location");
    }
    for name in ["a%2Fb", "a%00b", "a%0Ab", "a%E2%80%AEb"] {
        let disposition = format!("inline; filename*=UTF-8''{name}");
        let headers = [("Upload-Complete", "?0"), ("Content-Disposition", disposition.as_str())];
        draft.post(&headers, "").await.refused(422, "name_invalid");
    }
    let program = [("Upload-Complete", "?0"), ("Content-Type", "application/x-msdownload")];
    draft.post(&program, "").await.refused(415, "type_refused");
    let headers = [("Upload-Complete", "?1"), ("Content-Disposition", NAMED), ("Content-Type", "text/plain")];
    let upload = draft.post(&headers, "hello").await.expect(201).location();
    let file = draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!((&file["original_name"], &file["mime_type"]), (&json!("a letter.txt"), &json!("text/plain")));
    stack.finish().await;
}
