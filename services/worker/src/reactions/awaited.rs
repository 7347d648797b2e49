//! Objects of direct uploads that a worker awaits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_repository::UploadAggregate;
use waybill_schema::{Causation, CompanyId, UploadId};

/// Shortest and longest pause between two requests for one object.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];
/// Maximum number of objects that a worker awaits. The sweep looks for the others.
const AWAITED: usize = 4_096;
/// Maximum number of awaited objects per company.
const AWAITED_OF_COMPANY: usize = 512;

/// Objects that a worker awaits.
#[derive(Default)]
pub(crate) struct Awaited(Mutex<BTreeMap<(CompanyId, UploadId), Look>>);

/// Time at which an object is looked for next, and the pause before that.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    pause: Duration,
    causation: Causation,
}

impl Awaited {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<(CompanyId, UploadId), Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Schedules the next look for an object that does not exist yet, after a longer pause than the last time.
    pub(super) fn again(&self, aggregate: &UploadAggregate, causation: Causation) {
        let mut awaited = self.locked();
        let key = (aggregate.company, aggregate.upload);
        if let Some(look) = awaited.get_mut(&key) {
            look.pause = (look.pause * 3 / 2).min(PAUSES[1]);
            look.at = Instant::now() + look.pause;
            return;
        }
        let least = (aggregate.company, UploadId(Uuid::nil()));
        let of_company = awaited.range(least..).take_while(|((company, _), _)| *company == aggregate.company).count();
        if awaited.len() < AWAITED && of_company < AWAITED_OF_COMPANY {
            awaited.insert(key, Look { at: Instant::now() + PAUSES[0], pause: PAUSES[0], causation });
        }
    }

    /// Stops awaiting the object of an upload.
    pub(super) fn forget(&self, aggregate: &UploadAggregate) {
        self.locked().remove(&(aggregate.company, aggregate.upload));
    }

    /// Returns the uploads whose objects are due to be looked for.
    pub(super) fn due(&self) -> Vec<(UploadAggregate, Causation)> {
        let time = Instant::now();
        let due = |((company, upload), look): (&(CompanyId, UploadId), &Look)| {
            let aggregate = UploadAggregate { company: *company, upload: *upload };
            (look.at <= time).then_some((aggregate, look.causation))
        };
        self.locked().iter().filter_map(due).collect()
    }
}
