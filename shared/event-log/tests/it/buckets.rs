//! Buckets of JetStream and in memory have the same properties.

use futures_util::future::join_all;
use waybill_event_log::{Bucket, CreateOutcome, MemoryBucket};
use waybill_schema::names;
use waybill_test_kit::NatsServer;

async fn behaves(bucket: Bucket) {
    assert_eq!(bucket.get("a").await, Ok(None));
    assert_eq!(bucket.create("a", "1".into()).await, Ok(CreateOutcome::Created));
    let exists = bucket.create("a", "2".into()).await.unwrap();
    let CreateOutcome::Exists(first) = exists else { panic!("{exists:?}") };
    assert_eq!(first.value, "1");

    // Only the first of two changes of a revision takes effect.
    assert_eq!(bucket.replace("a", "3".into(), first.revision).await, Ok(true));
    assert_eq!(bucket.replace("a", "4".into(), first.revision).await, Ok(false));
    assert_eq!(bucket.get("a").await.unwrap().unwrap().value, "3");

    bucket.put("b", "5".into()).await.unwrap();
    let mut keys = bucket.keys().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    assert!(bucket.room().await.unwrap().used_bytes >= 2);
    bucket.delete("b").await.unwrap();
    assert_eq!(bucket.get("b").await, Ok(None));
    assert_eq!(bucket.keys().await.unwrap(), ["a"]);

    let takes = join_all((0..10).map(|_| bucket.take("a"))).await;
    assert_eq!(takes.iter().filter(|taken| matches!(taken, Ok(Some(value)) if value == "3")).count(), 1, "{takes:?}");
    assert_eq!(bucket.get("a").await, Ok(None));
}

#[tokio::test]
async fn a_bucket_in_memory_behaves_like_a_bucket() {
    behaves(Bucket::new(MemoryBucket::default())).await;
}

#[tokio::test]
async fn a_bucket_of_jetstream_behaves_like_a_bucket() {
    let server = NatsServer::start().await;
    server.log(1).await;
    behaves(Bucket::open(&server.client().await, names::TICKETS_BUCKET).await.unwrap()).await;
}
