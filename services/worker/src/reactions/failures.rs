//! Numbers of failures of reactions, and the reactions that wait for a place.

use std::time::Duration;
use waybill_cache::Cache;
use waybill_schema::Position;

/// Maximum number of events whose failures are counted: as many as the consumer can have unacknowledged. And the time
/// after the last failure for which a count is kept.
const FAILURES_KEPT: u64 = 16_384;
const FAILURES_KEPT_FOR: Duration = Duration::from_secs(600);

/// Number of failures per event in this worker. A delivery that found no place does not count as a failure. Counts
/// expire, because another worker may succeed.
pub(crate) struct Failures(Cache<Position, i64>);

impl Default for Failures {
    fn default() -> Self {
        Self(Cache::builder(FAILURES_KEPT).time_to_idle(FAILURES_KEPT_FOR).build())
    }
}

impl Failures {
    /// Adds a failure and returns the number of failures.
    pub(super) fn count(&self, position: Position) -> i64 {
        *self.0.upsert_with(&position, |known| known.map_or(0, |failures| *failures) + 1)
    }

    /// Forgets the failures of an event.
    pub(super) fn forget(&self, position: Position) {
        self.0.invalidate(&position);
    }
}

/// Returns an empty set of events whose reactions wait for a place.
pub(crate) fn waiting() -> Cache<Position, ()> {
    Cache::builder(FAILURES_KEPT).time_to_idle(FAILURES_KEPT_FOR).build()
}
