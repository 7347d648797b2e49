//! Buckets with Object Lock, which keep objects that nobody can change or delete.

use bytes::Bytes;
use std::time::{SystemTime, UNIX_EPOCH};
use waybill_object_store::s3::S3Store;
use waybill_object_store::{ObjectStore, StoreError, crc64nvme};
use waybill_test_kit::TestBucket;

fn in_an_hour() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + 3_600
}

#[tokio::test]
async fn a_locked_object_cannot_be_deleted_and_what_replaces_it_leaves_it_in_place() {
    let mut config = TestBucket::create().await.config;
    config.bucket.push_str("-locks");
    let store = S3Store::new(&config);
    store.ensure_bucket_with_lock().await.unwrap();
    store.ensure_bucket_with_lock().await.unwrap();
    assert_eq!(store.locks().await, Ok(true));
    store.put_locked("head", Bytes::from_static(b"true"), Some(in_an_hour())).await.unwrap();
    let first = store.versions("head").await.unwrap();
    let deleted = store.delete("head").await;
    assert!(deleted.is_err(), "{deleted:?}");
    let forged = Bytes::from_static(b"forged");
    store.put("head", forged.clone(), crc64nvme(&forged)).await.unwrap();
    assert!(store.versions("head").await.unwrap().contains(&first[0]), "the first version is still there");
    // Objects without a lock can be deleted as in other buckets.
    store.put_locked("other", Bytes::from_static(b"x"), None).await.unwrap();
    store.delete("other").await.unwrap();
    assert_eq!(store.versions("other").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_without_object_lock_says_so_and_locks_nothing() {
    let store = TestBucket::create().await.store();
    assert_eq!(store.locks().await, Ok(false));
    let refused = store.ensure_bucket_with_lock().await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    store.put_locked("head", Bytes::from_static(b"true"), None).await.unwrap();
    assert_eq!(store.size("head").await, Ok(Some(4)));
}
