//! Quota: space is never oversold, charged once and released once.

use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;
use waybill_domain::limits::{Limits, OpenLimits};
use waybill_domain::quota::{Command, Terms};
use waybill_event_log::{Bucket, EventLog};
use waybill_integration_tests::{Client, Stack};
use waybill_repository::{Context, QuotaAggregate, Repository};
use waybill_schema::events::ReservedItem;
use waybill_schema::{Actor, Causation, CompanyId, SessionId, Timestamp, UploadId, names};
use waybill_test_kit::eventually;

pub(crate) async fn set_limit(client: &Client, bytes: u64) {
    let company = client.principal.company_id;
    let put = client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    let answer = client.send(put.json(&json!({ "storage_limit_bytes": bytes }))).await.expect(200);
    assert_eq!(answer.body["storage_limit_bytes"], bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_starts_at_the_edge_never_pass_the_limit() {
    let stack = Stack::start().await;
    let client = stack.client();
    set_limit(&client, 1_000).await;
    let starts = futures_util::future::join_all((0..50).map(|_| client.start(90))).await;
    let accepted = starts.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(accepted, 11, "11 times 90 bytes fit into 1,000");
    for answer in starts.into_iter().filter(|answer| answer.status != 201) {
        let refused = answer.refused(413, "quota_exceeded");
        assert_eq!(refused.body["storage_limit_bytes"], 1_000);
    }
    assert_eq!(stack.reserved_bytes(client.principal.company_id).await, 990);
    client.start(11).await.refused(413, "quota_exceeded");
    client.start(10).await.expect(201);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_is_used_and_what_fails_is_free() {
    let stack = Stack::start().await;
    let client = stack.client();
    set_limit(&client, 1_000).await;
    let kept = client.start(400).await.expect(201).text("upload_id");
    client.put_chunk(&kept, 0, vec![1; 400]).await.expect(200);
    client.complete(&kept, &json!({})).await.expect(200);
    let cancelled = client.start(600).await.expect(201).text("upload_id");
    client.start(1).await.refused(413, "quota_exceeded");
    client.delete(&format!("/v1/uploads/{cancelled}")).await.expect(204);
    stack.nothing_reserved(client.principal.company_id).await;
    let quota = eventually("the quota to be projected", || async {
        let quota = client.get("/v1/quota").await.expect(200).body;
        (quota["storage_used_bytes"] == 400 && quota["storage_reserved_bytes"] == 0).then_some(quota)
    })
    .await;
    assert_eq!((&quota["file_count"], &quota["storage_limit_bytes"]), (&json!(1), &json!(1_000)));
    client.start(600).await.expect(201);
    // A limit below the used bytes allows no new upload.
    set_limit(&client, 100).await;
    client.start(0).await.refused(413, "quota_exceeded");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_for_admins_of_the_company() {
    let stack = Stack::start().await;
    let admin = stack.client();
    let user = stack.client_for(admin.principal.company_id, &[]);
    let path = |client: &Client| format!("/v1/admin/companies/{}/quota", client.principal.company_id);
    let body = json!({ "storage_limit_bytes": 1 });
    user.send(user.request(Method::PUT, &path(&user)).json(&body)).await.refused(403, "role_required");
    let other = stack.client();
    other.send(other.request(Method::PUT, &path(&admin)).json(&body)).await.refused(404, "not_found");
    stack.finish().await;
}

/// Requests with the same idempotency key are one start: all of them are accepted, or none.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_comes_several_times_at_once_is_refused_each_time() {
    let stack = Stack::start().await;
    let client = stack.client();
    set_limit(&client, 5).await;
    for key in ["one", "two", "three"] {
        let start = |_| {
            let request = client.request(Method::POST, "/v1/uploads").header("Idempotency-Key", key);
            client.send(request.json(&json!({ "name": "a.bin", "size_bytes": 10 })))
        };
        for answer in futures_util::future::join_all((0..8).map(start)).await {
            answer.refused(413, "quota_exceeded");
        }
    }
    assert_eq!(stack.reserved_bytes(client.principal.company_id).await, 0);
    stack.finish().await;
}

/// Correctness S2-7: a company with more open reservations than fit into one value of a bucket.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_kept_however_much_is_open() {
    const EVENTS: u64 = 600;
    let stack = Stack::start().await;
    let company = CompanyId(Uuid::now_v7());
    let context = Context {
        actor: Actor::Service("test".to_owned()),
        causation: Causation::Request(Uuid::now_v7()),
        address: None,
        clock: waybill_service_kit::now,
    };
    let bucket = Bucket::open(&stack.nats().await, names::SNAPSHOTS_BUCKET).await.unwrap();
    let log: Arc<dyn EventLog> = Arc::new(stack.log().clone().keeping_snapshots_in(bucket.clone()));
    let repository = Repository::new(log.clone());
    let terms = Terms {
        default_limit_bytes: u64::MAX,
        limits: Limits::default(),
        open: OpenLimits::default(),
        links: BTreeMap::new(),
    };
    let session_id = Some(SessionId(Uuid::now_v7()));
    for _ in 0..EVENTS {
        let item = || ReservedItem {
            upload_id: UploadId(Uuid::now_v7()),
            session_id,
            bytes_total: 1,
            user_id: None,
            link: None,
        };
        let items = (0..64).map(|_| item()).collect();
        let reserve = Command::Reserve { items, until: Timestamp(i64::MAX / 2), terms: terms.clone() };
        repository.execute(&QuotaAggregate { company }, reserve, &context).await.unwrap();
    }
    let state = repository.quota(company).await.unwrap();
    assert_eq!(state.reserved_bytes(), 64 * EVENTS);
    let kept = bucket.keys().await.unwrap();
    let pieces = kept.iter().filter(|key| key.starts_with(&format!("{company}.quota."))).count();
    assert!(pieces > 1, "{kept:?}");
    assert_eq!(Repository::new(log).quota(company).await.unwrap(), state);
    stack.stop().await;
}
