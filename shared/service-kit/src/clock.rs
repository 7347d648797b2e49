//! The clock and the ids of a process.
//!
//! Domain rules take times and ids as arguments; everything else gets them here. A deterministic simulation replaces the
//! source of a whole process with [`replace`], and runs one seed per process. For time that passes, the code uses
//! [`tokio::time::Instant`], which a simulation can pause. `scripts/check-arrows` finds code that asks the system.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;
use waybill_schema::Timestamp;

/// Source of times and ids.
pub trait Source: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Returns an id that no process has used before. Ids of one process grow with time (UUID version 7).
    fn id(&self) -> Uuid;
}

/// The clock and the random numbers of the operating system.
struct System;

impl Source for System {
    fn now(&self) -> Timestamp {
        // A clock that is set to a time before 1970 counts as 1970.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

static REPLACED: OnceLock<Box<dyn Source>> = OnceLock::new();

/// Replaces the source of times and ids of this process. Returns `false` if it was replaced before.
pub fn replace(source: Box<dyn Source>) -> bool {
    REPLACED.set(source).is_ok()
}

fn source() -> &'static dyn Source {
    REPLACED.get().map_or(&System, Box::as_ref)
}

/// Returns the current time.
pub fn now() -> Timestamp {
    source().now()
}

/// Returns a new id.
pub fn new_id() -> Uuid {
    source().id()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts its calls, and is one second later at each call.
    #[derive(Default)]
    struct Counted(AtomicU64);

    impl Source for Counted {
        fn now(&self) -> Timestamp {
            Timestamp(1_000 * self.id().as_u128() as i64)
        }

        fn id(&self) -> Uuid {
            Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)))
        }
    }

    // The only test of this crate that needs the time, because the source belongs to the process.
    #[test]
    fn a_source_is_replaced_once_and_then_gives_all_times_and_ids() {
        assert!(now() > Timestamp(1_700_000_000_000));
        assert!(new_id() < new_id());
        assert!(replace(Box::new(Counted::default())));
        assert_eq!((new_id(), now(), new_id()), (Uuid::from_u128(0), Timestamp(1_000), Uuid::from_u128(2)));
        assert!(!replace(Box::new(Counted::default())));
        assert_eq!(new_id(), Uuid::from_u128(3));
    }
}
