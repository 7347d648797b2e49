//! Fold of one directory, which a process keeps in memory.

use crate::snapshot::Mark;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;
use waybill_domain::directory::{DirectoryAggregate, State, evolve};
use waybill_schema::{CompanyId, Event};

/// Minimum weight of a fold, in entries.
pub(super) const LEAST_WEIGHT: usize = 16;

/// Directory that is kept in memory.
pub(super) struct Kept {
    pub(super) directory: DirectoryAggregate,
    fold: RwLock<Fold>,
    /// Held by the task that may append events.
    pub(super) writer: tokio::sync::Mutex<()>,
    /// Held by the task that reads the directory from its beginning. Other tasks wait for its result.
    pub(super) loader: tokio::sync::Mutex<()>,
    pub(super) entries: AtomicUsize,
    pub(super) is_being_written: AtomicBool,
    pub(super) used_at: Mutex<Instant>,
}

#[derive(Default)]
pub(super) struct Fold {
    pub(super) state: State,
    pub(super) last: Mark,
    /// Number of events that were folded since the last snapshot.
    pub(super) is_new: usize,
    /// Generation of the log that the events were read from.
    pub(super) generation: u64,
    /// Number of times that the fold was begun again. Events that were read for an earlier fold must not be applied to
    /// this one.
    pub(super) begun: u64,
}

impl Kept {
    /// Creates an empty fold.
    pub(super) fn new(company: CompanyId) -> Self {
        Self {
            directory: DirectoryAggregate { company },
            fold: RwLock::default(),
            writer: tokio::sync::Mutex::default(),
            loader: tokio::sync::Mutex::default(),
            entries: AtomicUsize::new(LEAST_WEIGHT),
            is_being_written: AtomicBool::new(false),
            used_at: Mutex::new(Instant::now()),
        }
    }

    /// Returns the fold for reading.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Fold> {
        self.fold.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fold for changes.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Fold> {
        self.fold.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fold {
    /// Discards all events, so that they are read again.
    pub(super) fn begin_again(&mut self, generation: u64) {
        *self = Self { generation, begun: self.begun + 1, ..Self::default() };
    }

    /// Applies an event, unless it was applied before.
    pub(super) fn take(&mut self, event: &Event, last: Mark) {
        // Another task may have folded the same event already.
        if last.seq > self.last.seq {
            if let Event::Directory(event) = event {
                evolve(&mut self.state, event);
            }
            self.last = last;
            self.is_new += 1;
        }
    }
}

/// Locks a mutex. A poisoned mutex is no problem, because no holder leaves an incomplete change.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
