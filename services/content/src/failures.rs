//! Counts failures of clamd with single files.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use waybill_schema::FileId;

/// Number of failures of clamd with a file, while clamd could scan other bytes.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<FileId, u32>>);

/// Maximum number of files whose failures are counted. More than these are counted again from the beginning.
const COUNTED_MAX: usize = 10_000;

impl Failures {
    fn counts(&self) -> MutexGuard<'_, HashMap<FileId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, file: FileId) -> u32 {
        let mut counts = self.counts();
        if counts.len() >= COUNTED_MAX && !counts.contains_key(&file) {
            counts.clear();
        }
        let count = counts.entry(file).or_default();
        *count += 1;
        *count
    }

    pub(crate) fn forget(&self, file: FileId) {
        self.counts().remove(&file);
    }
}
