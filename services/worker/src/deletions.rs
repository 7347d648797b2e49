//! Deletions of objects that nothing waits for, combined into batches.

use std::sync::Arc;
use std::time::Duration;
use waybill_object_store::{ObjectStore, StoreError};
use waybill_repository::{BatchSize, Batches, Linger};

/// Size of a batch of deletions. Nothing waits for them, so they can be collected for a while.
const TOGETHER: BatchSize = BatchSize { most: 100, queue: 4_096, linger: Linger::For(Duration::from_millis(100)) };

/// Deletions of single objects, by key, combined into batches.
pub(crate) type Deletions = Batches<(), String, Result<(), StoreError>>;

/// Returns a batcher that deletes objects of `store`.
pub(crate) fn deletions(store: Arc<dyn ObjectStore>) -> Deletions {
    Batches::new(TOGETHER, move |(), keys: Vec<String>| {
        let store = store.clone();
        async move { store.delete_many(&keys).await }
    })
}
