//! Files that are read for their checksums, and the results.

use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use waybill_cache::Cache;
use waybill_schema::{CompanyId, Sha256Digest};

/// Number of files that are read at the same time: one of each company, so that no company waits for all files of another.
const AT_ONCE: usize = 2;

/// Maximum number of files that wait, and of those of one company.
const WAITING_MAX: usize = 10_000;
const WAITING_PER_COMPANY: usize = 2_000;

/// Number of companies whose turns are kept.
const TURNS: u64 = 10_000;

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
    places: Semaphore,
    turns: Cache<CompanyId, Semaphore>,
}

impl Default for Checksums {
    fn default() -> Self {
        Self {
            known: Cache::new(KEPT),
            reading: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
            turns: Cache::new(TURNS),
        }
    }
}

impl Checksums {
    pub(super) fn reading(&self) -> MutexGuard<'_, HashMap<Key, Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if no more files of the company may wait.
    pub(super) fn is_full(reading: &HashMap<Key, Reading>, company: CompanyId) -> bool {
        let of_company = || reading.keys().filter(|(of, _)| *of == company).count();
        reading.len() >= WAITING_MAX || of_company() >= WAITING_PER_COMPANY
    }

    /// Runs `read` when it is the turn of the company.
    pub(super) async fn in_turn<T>(&self, company: CompanyId, read: impl Future<Output = T>) -> T {
        let turn = self.turns.get_with(&company, || Semaphore::new(1));
        // The semaphores are never closed.
        let _turn = turn.acquire().await;
        let _place = self.places.acquire().await;
        read.await
    }
}
