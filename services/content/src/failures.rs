//! Counts failures of clamd with single files.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::FileId;

/// Number of failures after which a file is the reason, if clamd can scan other bytes.
const MANY: u32 = 5;
/// The same if clamd could scan nothing after the failures. A file that ends clamd looks like this, and so does every file that
/// was scanned at the same time.
const VERY_MANY: u32 = 15;
/// Maximum number of files whose failures are counted. If there are more, all counts begin again.
const COUNTED_MAX: usize = 10_000;

struct Count {
    since: Instant,
    all: u32,
    while_clamd_could_scan: u32,
}

/// Failures of clamd with single files, after clamd had accepted their bytes.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<FileId, Count>>);

impl Failures {
    fn counts(&self) -> MutexGuard<'_, HashMap<FileId, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure. Returns `true` if the scan of the file is hopeless: clamd failed often, and for longer than `after`.
    pub(crate) fn is_hopeless(&self, file: FileId, can_scan: bool, after: Duration) -> bool {
        let mut counts = self.counts();
        if counts.len() >= COUNTED_MAX && !counts.contains_key(&file) {
            counts.clear();
        }
        let new = || Count { since: Instant::now(), all: 0, while_clamd_could_scan: 0 };
        let count = counts.entry(file).or_insert_with(new);
        count.all += 1;
        count.while_clamd_could_scan += u32::from(can_scan);
        count.since.elapsed() >= after && (count.while_clamd_could_scan >= MANY || count.all >= VERY_MANY)
    }

    pub(crate) fn forget(&self, file: FileId) {
        self.counts().remove(&file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schema::UploadId;

    #[test]
    fn a_file_is_hopeless_after_many_failures_and_some_time() {
        let file = UploadId(uuid::Uuid::nil());
        let failures = Failures::default();
        let later = Duration::from_secs(3_600);
        assert!((0..100).all(|_| !failures.is_hopeless(file, true, later)));
        assert!(failures.is_hopeless(file, true, Duration::ZERO));
        failures.forget(file);
        assert!((1..MANY).all(|_| !failures.is_hopeless(file, true, Duration::ZERO)));
        assert!(failures.is_hopeless(file, true, Duration::ZERO));
        failures.forget(file);
        assert!((1..VERY_MANY).all(|_| !failures.is_hopeless(file, false, Duration::ZERO)));
        assert!(failures.is_hopeless(file, false, Duration::ZERO));
    }
}
