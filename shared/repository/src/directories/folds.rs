//! The folds of directories that a process keeps in memory, within a number of entries.

use super::kept::{Kept, LEAST_WEIGHT, locked};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::CompanyId;

/// Time after its last use during which a fold is not evicted, unless there are about twice as many entries as allowed.
const IN_USE_FOR: Duration = Duration::from_secs(60);
/// Minimum time between two evictions, unless there are more than twice as many entries as allowed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Folds by company. Evicts the least recently used folds if there are too many entries.
pub(super) struct Folds {
    kept: Mutex<HashMap<CompanyId, Arc<Kept>>>,
    /// Approximate maximum number of entries of all folds.
    max_entries: usize,
    /// Number of entries of all folds.
    total: AtomicUsize,
    /// Time of the last search for folds to evict.
    looked_at: Mutex<Instant>,
}

impl Folds {
    /// Creates an empty set of folds.
    pub(super) fn new(max_entries: usize) -> Self {
        Self { kept: Mutex::default(), max_entries, total: AtomicUsize::new(0), looked_at: Mutex::new(Instant::now()) }
    }

    /// Returns the fold of a company and marks it as used. An unknown fold is empty.
    pub(super) fn of(&self, company: CompanyId) -> Arc<Kept> {
        let (kept, is_new) = {
            let mut all = locked(&self.kept);
            let before = all.len();
            let kept = all.entry(company).or_insert_with(|| Arc::new(Kept::new(company))).clone();
            (kept, all.len() > before)
        };
        *locked(&kept.used_at) = Instant::now();
        if is_new {
            self.total.fetch_add(LEAST_WEIGHT, Ordering::Relaxed);
            self.let_go();
        }
        kept
    }

    /// Updates the number of entries of a fold and the total.
    pub(super) fn weigh(&self, kept: &Kept) {
        let entries = kept.read().state.len().max(LEAST_WEIGHT);
        let before = kept.entries.swap(entries, Ordering::Relaxed);
        self.total.fetch_add(entries.saturating_sub(before), Ordering::Relaxed);
        self.total.fetch_sub(before.saturating_sub(entries), Ordering::Relaxed);
        if entries > before {
            self.let_go();
        }
    }

    /// Evicts the least recently used folds if there are too many entries. Folds that a task uses are kept.
    fn let_go(&self) {
        let (bound, total) = (self.max_entries, self.total.load(Ordering::Relaxed));
        let is_urgent = total > bound.saturating_mul(2);
        if total <= bound || !(is_urgent || self.is_time_to_look()) {
            return;
        }
        // Evict some more folds than necessary, so that this does not happen again immediately.
        let enough = bound - bound / 8;
        let enough_in_use = if is_urgent { bound.saturating_add(enough) } else { usize::MAX };
        let mut all = locked(&self.kept);
        let idle = all.iter().filter(|(_, kept)| Arc::strong_count(kept) == 1);
        let mut idle: Vec<(Duration, CompanyId)> =
            idle.map(|(company, kept)| (locked(&kept.used_at).elapsed(), *company)).collect();
        idle.sort_unstable();
        while let Some((idle_for, company)) = idle.pop() {
            let total = self.total.load(Ordering::Relaxed);
            if total <= enough || (idle_for < IN_USE_FOR && total <= enough_in_use) {
                return;
            }
            if let Some(gone) = all.remove(&company) {
                self.total.fetch_sub(gone.entries.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }

    fn is_time_to_look(&self) -> bool {
        let mut looked_at = locked(&self.looked_at);
        let is_time = looked_at.elapsed() >= LOOK_EVERY;
        if is_time {
            *looked_at = Instant::now();
        }
        is_time
    }
}
