//! Files that are read for their checksums, and the results.

use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use waybill_cache::Cache;
use waybill_schema::{CompanyId, Sha256Digest};

/// Number of files that are read at the same time, for all companies.
const AT_ONCE: usize = 2;

/// Number of checksums that are kept until the tables have them.
const KEPT: u64 = 20_000;

/// Bytes of a company.
pub(super) type Key = (CompanyId, Sha256Digest);

/// A file that is being read. The result is `None` if it cannot be read.
pub(super) type Reading = Shared<BoxFuture<'static, Option<u32>>>;

/// Checksums that were computed recently, and the files that are being read.
pub(crate) struct Checksums {
    pub(super) known: Cache<Key, u32>,
    reading: Mutex<HashMap<Key, Reading>>,
    pub(super) places: Arc<Semaphore>,
}

impl Default for Checksums {
    fn default() -> Self {
        Self { known: Cache::new(KEPT), reading: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Checksums {
    pub(super) fn reading(&self) -> MutexGuard<'_, HashMap<Key, Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
