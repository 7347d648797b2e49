//! The shelves of the rows that requests read often.

use serde::de::DeserializeOwned;
use std::sync::Arc;
use waybill_read_cache::{ReadCache, Shelf};
use waybill_read_model::queries::{File, SharedFile};

/// Names of the kinds.
pub(super) const FILE: &str = "file";
pub(super) const OWN: &str = "own";
pub(super) const SHARED: &str = "shared";

/// Rows that were read earlier.
pub(crate) struct Rows {
    pub(super) files: Shelf<Vec<File>>,
    pub(super) own: Shelf<Vec<File>>,
    pub(super) shared: Shelf<Vec<SharedFile>>,
}

impl Rows {
    pub(crate) fn new(cache: &Arc<ReadCache>) -> Self {
        Self { files: shelf(cache, FILE), own: shelf(cache, OWN), shared: shelf(cache, SHARED) }
    }
}

fn shelf<V: DeserializeOwned + Send + Sync + 'static>(cache: &Arc<ReadCache>, kind: &'static str) -> Shelf<V> {
    Shelf::new(cache.clone(), kind, |bytes| serde_json::from_slice(bytes).ok())
}
