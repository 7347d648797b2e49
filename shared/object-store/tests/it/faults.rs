//! Injected faults of the store in memory.

use bytes::Bytes;
use waybill_object_store::memory::{Fault, MemoryStore};
use waybill_object_store::{ObjectStore, StoreError, crc64nvme};

#[tokio::test]
async fn a_write_whose_answer_is_lost_happened_all_the_same() {
    let store = MemoryStore::new();
    store.inject([Fault::Refused, Fault::AnswerLost]);
    let put = || store.put("a", Bytes::from_static(b"x"), crc64nvme(b"x"));
    assert!(matches!(put().await, Err(StoreError::Unavailable { .. })));
    assert!(store.keys().is_empty());
    assert!(matches!(put().await, Err(StoreError::Unavailable { .. })));
    assert_eq!(store.keys(), ["a"]);
    assert_eq!(store.open_uploads(), 0);
}
