//! Deletion in buckets that keep versions of overwritten and deleted objects.

use bytes::Bytes;
use waybill_object_store::s3::S3Store;
use waybill_object_store::{ObjectStore, crc64nvme};
use waybill_test_kit::TestBucket;

#[tokio::test]
async fn what_is_deleted_is_gone_with_all_its_versions() {
    let bucket = TestBucket::create().await;
    let store = S3Store::new(&bucket.config);
    store.keep_versions().await.unwrap();
    for (key, content) in [("a", "one"), ("a", "two"), ("ab", "another")] {
        let bytes = Bytes::from_static(content.as_bytes());
        store.put(key, bytes.clone(), crc64nvme(&bytes)).await.unwrap();
    }
    assert_eq!(store.versions("a").await.unwrap().len(), 2, "the bucket keeps overwritten versions");
    store.delete("a").await.unwrap();
    assert_eq!(store.versions("a").await.unwrap(), Vec::<String>::new());
    assert_eq!((store.size("a").await.unwrap(), store.size("ab").await.unwrap()), (None, Some(7)));
    store.delete("a").await.unwrap();
    assert_eq!(store.versions("a").await.unwrap(), Vec::<String>::new(), "no delete marker is left");
    store.delete("ab").await.unwrap();
}
