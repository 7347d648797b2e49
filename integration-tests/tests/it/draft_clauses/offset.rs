//! Upload resources and `Upload-Offset`.

use super::{PARTIAL, is_file, is_gone, open, patch};
use crate::random::bytes;
use crate::speaker::{Speaker, id_of};
use reqwest::Method;
use std::collections::BTreeSet;
use waybill_integration_tests::{Cluster, Counts, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn res_1_2_an_upload_answers_after_its_end_and_its_url_is_never_anothers() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let cancelled = open(&draft, Some(5)).await;
    draft.delete(&cancelled).await.expect(204);
    let completed = draft.post(&[("Upload-Complete", "?1")], "hello").await.expect(201).location();
    let running = open(&draft, Some(5)).await;
    let again = open(&draft, Some(5)).await;
    assert_eq!(BTreeSet::from([&cancelled, &completed, &running, &again]).len(), 4);
    is_gone(&draft, &cancelled, 0).await;
    let done = draft.head(&completed).await.expect(204);
    done.with("Upload-Complete", "?1").with("Upload-Offset", "5").with("Upload-Length", "5");
    draft.head(&running).await.expect(204).with("Upload-Complete", "?0").with("Upload-Offset", "0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_1_conc_1_parallel_appends_are_one_file_and_no_offset_goes_back() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_001, 100_000);
    let upload = open(&draft, Some(content.len())).await;
    let append = async |offset: usize| {
        let request = draft.client.request(Method::PATCH, &upload).header("Upload-Draft-Interop-Version", "9");
        let request =
            request.header("Upload-Offset", offset).header("Upload-Complete", "?1").header(PARTIAL.0, PARTIAL.1);
        // A client whose request is taken over may find the connection closed.
        request.body(content[offset..].to_vec()).send().await.map(|response| response.status().as_u16()).ok()
    };
    let first = futures_util::future::join_all((0..8).map(|_| append(0))).await;
    assert!(first.iter().flatten().all(|status| [200, 400, 409].contains(status)), "{first:?}");
    let mut last = 0;
    loop {
        let head = draft.head(&upload).await.expect(204);
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        assert!(offset >= last, "{offset} after {last}");
        last = offset;
        if head.header("Upload-Complete") == Some("?1") {
            break;
        }
        append(offset).await;
    }
    assert_eq!(last, content.len());
    is_file(&draft.client, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_2_an_upload_whose_bytes_were_lost_is_ended() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(1_000)).await;
    draft.append(&upload, 0, false, bytes(2_002, 400)).await.expect(204).with("Upload-Offset", "400");
    let staged = stack.store().list(&format!("s/{}/", draft.client.principal.company_id)).await.unwrap();
    assert!(!staged.is_empty());
    for key in staged {
        stack.store().delete(&key).await.unwrap();
    }
    // A client that gets an error asks for the offset and continues, until the server says that the upload has ended.
    eventually("the upload to be ended", || async {
        let head = draft.head(&upload).await;
        if head.status != 204 || head.header("Upload-Complete") == Some("?1") {
            return (head.status == 410).then_some(());
        }
        let offset: usize = head.header("Upload-Offset").unwrap().parse().unwrap();
        let answer = draft.append(&upload, offset, true, vec![0; 1_000 - offset]).await;
        assert_ne!(answer.json()["status"], "COMPLETED", "an upload with lost bytes became a file");
        None
    })
    .await;
    draft.client.file_with_status(&id_of(&upload), "FAILED").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_3_invalid_values_of_upload_offset_are_ignored() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(10)).await;
    for offset in ["-1", "0.0", "abc", "\"0\"", "?0", "0, 0", "9999999999999999", ""] {
        let headers = [("Upload-Offset", offset), ("Upload-Complete", "?0"), PARTIAL];
        patch(&draft, &upload, &headers, "abc").await.refused(400, "header_missing").with("Upload-Complete", "?0");
    }
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0");
    let headers = [("Upload-Offset", "0;of=this"), ("Upload-Complete", "?0;so=far"), PARTIAL];
    patch(&draft, &upload, &headers, "abc").await.expect(204).with("Upload-Offset", "3");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offset_4_an_acknowledged_offset_outlives_gateway_and_worker() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let draft = Speaker::draft(cluster.client(), 9);
    let content = bytes(2_004, 1_000);
    let upload = open(&draft, Some(1_000)).await;
    draft.append(&upload, 0, false, content[..400].to_vec()).await.expect(204).with("Upload-Offset", "400");
    cluster.gateways[0].kill();
    cluster.workers[0].kill();
    cluster.workers[0].restart().await;
    cluster.gateways[0].restart().await;
    eventually("the gateway to be ready", || async {
        let ready = reqwest::get(format!("{}/readyz", cluster.url())).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    draft.head(&upload).await.expect(204).with("Upload-Offset", "400").with("Upload-Complete", "?0");
    draft.append(&upload, 400, true, content[400..].to_vec()).await.expect(200);
    is_file(&draft.client, &upload, &content).await;
    cluster.finish().await;
}
