//! Snapshots in memory. A command on an aggregate with many events begins with the state that the last command of this
//! process has left, instead of the snapshot in the bucket and the events after it.

use crate::snapshot::{self, Mark};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use waybill_cache::Cache;
use waybill_schema::Subject;

/// Maximum number of bytes of all snapshots.
const BYTES: u64 = 32 * 1_024 * 1_024;
/// Maximum number of bytes of a snapshot. A larger one is not kept, because it is encoded again after every few events.
const BYTES_EACH: usize = 256 * 1_024;
/// Maximum number of bytes of snapshots that are written to the bucket for each event.
const BYTES_PER_EVENT: usize = 256;
/// Time after its last use during which a snapshot is kept.
const FOR: Duration = Duration::from_secs(600);

/// Snapshots of the aggregates that commands use often.
pub(crate) struct Memory(Cache<Subject, Kept>);

/// A snapshot as bytes, which are the same as in the bucket.
struct Kept {
    /// Generation of the log that the events were read from.
    generation: u64,
    mark: Mark,
    fold: Vec<u8>,
    due: Due,
}

/// Progress towards the next snapshot in the bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    /// Number of events that were folded since the last snapshot.
    pub(crate) folded: u64,
    /// Size of the state when it was last encoded for the bucket. It is 0 if the size is not known.
    pub(crate) bytes: usize,
}

impl Due {
    /// Returns `true` if the next snapshot is due: after `every` events, or after more if its size is not worth it yet.
    pub(crate) fn is_reached(self, every: u64) -> bool {
        self.folded >= every.max((self.bytes / BYTES_PER_EVENT) as u64)
    }
}

/// A state in memory.
pub(crate) struct Remembered<T> {
    pub(crate) fold: T,
    /// Last event.
    pub(crate) mark: Mark,
    pub(crate) due: Due,
}

impl Default for Memory {
    fn default() -> Self {
        let weight = |kept: &Kept| u32::try_from(size_of::<Kept>() + kept.fold.len()).unwrap_or(u32::MAX);
        Self(Cache::builder(BYTES).weigher(weight).time_to_idle(FOR).build())
    }
}

impl Memory {
    /// Returns the state of a subject, if there is one of this generation of the log.
    pub(crate) fn read<T: DeserializeOwned>(&self, subject: Subject, generation: u64) -> Option<Remembered<T>> {
        let kept = self.0.get(&subject).filter(|kept| kept.generation == generation)?;
        let fold = postcard::from_bytes(&kept.fold).ok()?;
        Some(Remembered { fold, mark: kept.mark.clone(), due: kept.due })
    }

    /// Removes the snapshot of a subject.
    pub(crate) fn forget(&self, subject: Subject) {
        self.0.invalidate(&subject);
    }

    /// Keeps a state, which must contain all events up to its mark. Forgets it if it is too large.
    pub(crate) fn keep<T: Serialize>(&self, subject: Subject, generation: u64, state: Remembered<&T>) {
        let Remembered { fold, mark, due } = state;
        let fold = if due.bytes > BYTES_EACH { None } else { snapshot::pack(fold) };
        match fold.filter(|fold| fold.len() <= BYTES_EACH) {
            Some(fold) => self.0.insert(&subject, Kept { generation, mark, fold, due }),
            // The previous snapshot is older than what the bucket will have.
            None => self.forget(subject),
        }
    }
}
