//! Quota, memory, expiry and access of uploads.

use super::{MIB, PART, offset};
use crate::random::bytes;
use crate::speaker::{Speaker, id_of};
use futures_util::future::join_all;
use reqwest::{Body, Method};
use serde_json::json;
use waybill_integration_tests::{Cluster, Counts, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

/// owncloud/client #5027: uploads that grew at the same time overshot the quota.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_unknown_length_never_pass_the_limit_together() {
    let stack = Stack::start().await;
    let client = stack.client();
    let company = client.principal.company_id;
    let limit = 200 * MIB as u64;
    let put = client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    client.send(put.json(&json!({ "storage_limit_bytes": limit }))).await.expect(200);
    let tus = Speaker::tus(client);
    let mut uploads = Vec::new();
    for _ in 0..3 {
        uploads.push(tus.post(&[("Upload-Defer-Length", "1")], "").await.expect(201).location());
    }
    tus.post(&[("Upload-Defer-Length", "1")], "").await.refused(413, "quota_exceeded");
    // Each has reserved 64 MiB; only one of them can get 64 MiB more, with a body of unknown length.
    let piece = bytes(968, MIB);
    let grow = async |upload: &String| {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = (0..65).map(|_| Ok(piece.clone())).collect();
        let body = Body::wrap_stream(futures_util::stream::iter(pieces));
        tus.patch(upload, 0, body).await.status
    };
    let statuses = join_all(uploads.iter().map(grow)).await;
    assert!(stack.reserved_bytes(company).await <= limit);
    assert!(statuses.iter().all(|status| *status == 413), "an upload got more than the limit: {statuses:?}");
    for upload in &uploads {
        let stored = offset(&tus, upload).await;
        assert!(stored <= 64 * MIB, "{stored} bytes are stored without a reservation");
    }
    // An upload can be completed at its current offset.
    let stored = offset(&tus, &uploads[0]).await;
    let said = [("Upload-Length", &*stored.to_string())];
    tus.patch_with(&uploads[0], stored, &said, "").await.expect(204);
    let file = tus.client.file_with_status(&id_of(&uploads[0]), "COMPLETED").await;
    assert_eq!(file["size_bytes"], stored);
    for upload in &uploads[1..] {
        tus.delete(upload).await.expect(204);
    }
    stack.nothing_reserved(company).await;
    let used = eventually("the quota to be projected", || async {
        let quota = tus.client.get("/v1/quota").await.expect(200).body;
        (quota["storage_reserved_bytes"] == 0).then_some(quota)
    })
    .await;
    assert_eq!(used["storage_used_bytes"], stored);
    stack.finish().await;
}

/// HEAD returned the offset of an upload to anyone.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_is_told() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(100).await;
    let stranger = Speaker::tus(stack.client());
    let colleague = Speaker::tus(stack.client_for(tus.client.principal.company_id, &[]));
    for method in [Method::HEAD, Method::PATCH, Method::DELETE, Method::GET] {
        let url = format!("{}{upload}", stack.url());
        let request = reqwest::Client::new().request(method.clone(), &url).header("Tus-Resumable", "1.0.0");
        let answer = request.header("Upload-Offset", "0").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("Upload-Offset")), (401, None), "{method}");
        let overridden = reqwest::Client::new().post(&url).header("X-HTTP-Method-Override", method.as_str());
        let answer = overridden.header("Tus-Resumable", "1.0.0").send().await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 401), "{method}: {}", answer.status());
    }
    for other in [&stranger, &colleague] {
        other.head(&upload).await.expect(404).without("Upload-Offset");
        other.patch(&upload, 0, "abc").await.refused(404, "not_found");
        other.delete(&upload).await.refused(404, "not_found");
    }
    assert_eq!(offset(&tus, &upload).await, 0);
    stack.finish().await;
}

/// tusd #420: memory grew with the number of uploads.
#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_number_of_uploads() {
    let cluster = Cluster::start(Counts::default()).await;
    let tus = Speaker::tus(cluster.client());
    let begin = async |count: usize| {
        for _ in 0..count / 10 {
            let started = (0..10).map(|_| async {
                let upload = tus.create(PART).await;
                tus.patch(&upload, 0, vec![7; 1_000]).await.expect(204);
            });
            join_all(started).await;
        }
    };
    let rss = || cluster.gateways[0].rss_bytes() + cluster.workers[0].rss_bytes();
    begin(100).await;
    let before = rss();
    begin(400).await;
    let each = rss().saturating_sub(before) / 400;
    assert!(each < 64 * 1_024, "an open upload takes {each} bytes of memory");
    cluster.finish().await;
}

/// Abandoned uploads expire and release everything that they occupy. Later requests learn that they have ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_continued_ends_and_leaves_nothing() {
    let args = ["--upload-lifetime-s=8", "--expiry-grace-s=0", "--worker-sweep-ms=200"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let tus = Speaker::tus(stack.client());
    let company = tus.client.principal.company_id;
    let content = bytes(969, PART + 5_000);
    let upload = tus.create(content.len()).await;
    tus.patch(&upload, 0, content.clone()[..PART + 10].to_vec()).await.expect(204);
    let partial = [("Upload-Concat", "partial"), ("Upload-Length", "1000")];
    let partial = tus.post(&partial, "").await.expect(201).location();
    let deferred = tus.post(&[("Upload-Defer-Length", "1")], "").await.expect(201).location();
    let direct = tus.client.start_with(PART as u64, json!({ "mode": "direct" })).await.expect(201).text("upload_id");
    stack.nothing_reserved(company).await;
    for upload in [&upload, &partial, &deferred] {
        tus.head(upload).await.expect(404);
        tus.patch(upload, 0, "abc").await.refused(410, "upload_ended");
    }
    let status = tus.client.get(&format!("/v1/uploads/{}", id_of(&upload))).await.expect(200);
    assert_eq!((status.text("status"), status.text("error_code")), ("FAILED".into(), "upload_expired".into()));
    let sign = format!("/v1/uploads/{direct}/parts/sign");
    let parts = json!({ "parts": [{ "part_number": 1, "size_bytes": PART, "checksum": "crc32c AAAAAA==" }] });
    tus.client.post(&sign, &parts).await.refused(410, "upload_ended");
    eventually("all stored bytes to be deleted", || async {
        let mut left = Vec::new();
        for prefix in ["s", "o", "q"] {
            left.extend(stack.store().list(&format!("{prefix}/{company}/")).await.unwrap());
        }
        let open = stack.store().list_multiparts(&format!("o/{company}/")).await.unwrap();
        (left.is_empty() && open.is_empty()).then_some(())
    })
    .await;
    stack.finish().await;
}
