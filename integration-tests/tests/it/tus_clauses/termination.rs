//! Extension `termination`.

use super::{DEFERRED, OCTETS, PART, concat, is_file, offset_reaches, partial};
use crate::random::bytes;
use crate::speaker::{Speaker, id_of};
use waybill_integration_tests::Stack;
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn termination_2_3_4_an_unfinished_upload_is_ended_and_leaves_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_012, PART + 1_000);
    let begun = tus.create(2 * PART).await;
    tus.patch(&begun, 0, content.clone()).await.expect(204);
    let (empty, open) = (tus.create(10).await, tus.post(&[DEFERRED], "").await.expect(201).location());
    let part = partial(&tus, &content).await;
    for (upload, offset) in [(&begun, content.len()), (&empty, 0), (&open, 0), (&part, content.len())] {
        tus.delete(upload).await.expect(204);
        tus.head(upload).await.expect(404).without("Upload-Offset");
        tus.patch(upload, offset, "x").await.refused(410, "upload_ended").without("Upload-Offset");
        tus.patch(upload, offset, "").await.refused(410, "upload_ended").without("Upload-Offset");
    }
    concat(&tus, &[&part]).await.refused(410, "upload_ended");
    let company = tus.client.principal.company_id;
    stack.nothing_reserved(company).await;
    eventually("the stored bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_2_a_request_that_still_brings_bytes_is_ended_with_its_upload() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(1_000).await;
    let hanging = tus.begin_patch(&upload, 0, 1_000, &[1; 500]);
    offset_reaches(&tus.client, &upload, 500).await;
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404);
    drop(hanging);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_3_4_5_a_complete_upload_is_ended_with_its_file() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    tus.delete(&upload).await.expect(204);
    tus.head(&upload).await.expect(404).without("Upload-Offset");
    let part = partial(&tus, b"hello").await;
    let whole = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    tus.delete(&whole).await.expect(204);
    tus.head(&whole).await.expect(404).without("Upload-Offset");
    for upload in [upload, whole] {
        eventually("the file to be gone", || async {
            let content = tus.client.get(&format!("/v1/files/{}/content", id_of(&upload))).await;
            matches!(content.status, 404 | 410).then_some(())
        })
        .await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_is_gone_whatever_offset_is_said() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (begun, open) = (tus.create(10).await, tus.post(&[DEFERRED], "").await.expect(201).location());
    for upload in [begun, open] {
        tus.patch(&upload, 0, "hello").await.expect(204);
        tus.delete(&upload).await.expect(204);
        for (offset, body) in [(0, ""), (7, ""), (0, "hello"), (7, "x"), (0, "more than there is room for")] {
            let patched = tus.patch(&upload, offset, body).await;
            assert!(matches!(patched.status, 404 | 410), "{patched:?}");
            patched.without("Upload-Offset");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_cannot_be_ended_again() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let begun = tus.create(10).await;
    let whole = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    for upload in [begun, whole] {
        tus.delete(&upload).await.expect(204);
        let again = tus.delete(&upload).await;
        assert!(matches!(again.status, 404 | 410), "{again:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn termination_4_what_was_ended_when_complete_takes_no_patch() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    tus.delete(&upload).await.expect(204);
    for (offset, body) in [(5, ""), (5, "x"), (0, "hello")] {
        let patched = tus.patch(&upload, offset, body).await;
        assert!(matches!(patched.status, 404 | 410), "{patched:?}");
    }
    stack.finish().await;
}
