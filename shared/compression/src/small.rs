//! Small objects that many requests read: requests of one moment share one read, and the next ones find the bytes in memory.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;
use waybill_cache::Cache;
use waybill_object_store::{ObjectStore, StoreError};
use waybill_schema::Sha256Digest;

/// Maximum size of an object that is kept in bytes.
const SMALL_BYTES: u64 = 256 << 10;

/// Maximum time for which an object is sent from memory. The memory is freed with a later read.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Memory of an entry in addition to the bytes of its object.
const ENTRY_BYTES: usize = 512;

/// How long a request waits for another one that reads the same object, before it reads the object itself.
const WAIT: Duration = Duration::from_secs(1);

/// Number of objects that are being read, or were just read.
const READING: u64 = 10_000;

/// Small objects in memory. An object never changes, so a copy is never outdated.
pub(crate) struct SmallObjects {
    kept: Cache<Sha256Digest, Bytes>,
    reading: Cache<Sha256Digest, Mutex<()>>,
}

impl SmallObjects {
    /// Creates an empty cache of up to `bytes`.
    pub(crate) fn new(bytes: u64) -> Self {
        let weight = |bytes: &Bytes| u32::try_from(bytes.len() + ENTRY_BYTES).unwrap_or(u32::MAX);
        Self {
            kept: Cache::builder(bytes).weigher(weight).time_to_live(KEPT_FOR).build(),
            reading: Cache::builder(READING).time_to_idle(KEPT_FOR).build(),
        }
    }

    /// Returns `true` if objects of files of this size are kept.
    pub(crate) fn keeps(size_bytes: u64) -> bool {
        size_bytes <= SMALL_BYTES
    }

    /// Reads a whole object.
    pub(crate) async fn read(&self, store: &Arc<dyn ObjectStore>, key: &str) -> Result<Bytes, StoreError> {
        let name = Sha256Digest(Sha256::digest(key).into());
        if let Some(bytes) = self.kept.get(&name) {
            return Ok(Bytes::clone(&bytes));
        }
        let turn = self.reading.get_with(&name, Mutex::default);
        // This request waits for at most [`WAIT`], and then reads the object itself.
        let turn = timeout(WAIT, turn.lock()).await;
        if turn.is_ok()
            && let Some(bytes) = self.kept.get(&name)
        {
            return Ok(Bytes::clone(&bytes));
        }
        let bytes = store.get(key, 0, None).await?.collect().await?;
        self.kept.insert(&name, Arc::new(bytes.clone()));
        Ok(bytes)
    }
}
