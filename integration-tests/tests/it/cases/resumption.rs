//! Answers from which a client of a resumable protocol learns what to do next.

use crate::speaker::Speaker;
use reqwest::Method;
use serde_json::json;
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn f6_what_is_gone_answers_so_that_every_client_begins_anew() {
    let stack = Stack::start().await;
    let client = stack.client();
    let tus = Speaker::tus(client.clone());
    let cancelled = tus.create(5).await;
    tus.delete(&cancelled).await.expect(204);
    tus.head(&cancelled).await.expect(404).without("Upload-Offset");
    let finished = tus.create(5).await;
    tus.patch(&finished, 0, "hello").await.expect(204);
    tus.head(&finished).await.expect(200).with("Upload-Offset", "5");
    let whole = tus.send(Method::GET, &finished, &[], "").await.expect(200);
    assert_eq!(whole.body, b"hello");
    let piece = tus.send(Method::GET, &finished, &[("Range", "bytes=1-2")], "").await.expect(206);
    assert_eq!((piece.body.as_slice(), piece.header("Content-Range")), (&b"el"[..], Some("bytes 1-2/5")));
    let id = finished.rsplit('/').next().unwrap();
    client.delete(&format!("/v1/files/{id}")).await.expect(204);
    tus.head(&finished).await.expect(404);
    let running = tus.create(5).await;
    tus.send(Method::GET, &running, &[], "").await.expect(204);
    tus.delete(&running).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_said_with_every_refusal_that_comes_of_one() {
    let stack = Stack::start().await;
    let client = stack.client();
    let path = format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let set = client.put(&path, &json!({ "storage_limit_bytes": 1_000 })).await.expect(200);
    client.get_after("/v1/quota", &set).await.expect(200);
    let draft = Speaker::draft(client.clone(), 9);
    for complete in ["?0", "?1"] {
        let large = vec![0; if complete == "?1" { 2_000 } else { 0 }];
        let headers = [("Upload-Complete", complete), ("Upload-Length", "2000")];
        let refused = draft.post(&headers, large).await.refused(413, "quota_exceeded");
        assert_eq!(refused.header("Upload-Limit"), Some("max-size=1000"), "{complete}");
    }
    let huge = [("Upload-Complete", "?0"), ("Upload-Length", "99999999999")];
    assert!(draft.post(&huge, "").await.refused(413, "file_too_large").header("Upload-Limit").is_some());
    stack.finish().await;
}
