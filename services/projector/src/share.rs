//! Divides the partitions evenly among the running projectors.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::Database;
use waybill_read_model::alive::{self, Group};
use waybill_service_kit::Shutdown;

/// Number of partitions that this projector holds, and the maximum number that it may hold.
#[derive(Debug)]
pub(crate) struct Share {
    partitions: usize,
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Share {
    /// Creates the share of a projector that may take all `partitions` until it knows the other projectors.
    pub(crate) fn new(partitions: usize) -> Self {
        Self { partitions, held: AtomicUsize::new(0), most: AtomicUsize::new(partitions) }
    }

    /// Counts one more partition. Returns `false` if the share is used up.
    pub(crate) fn take(&self) -> bool {
        self.change(|held| (held < self.most.load(SeqCst)).then_some(held + 1))
    }

    /// Counts one partition fewer if this projector holds more than its share. Returns `false` if it does not.
    pub(crate) fn give_up(&self) -> bool {
        self.change(|held| (held > self.most.load(SeqCst)).then(|| held - 1))
    }

    /// Counts one partition fewer.
    pub(crate) fn give_back(&self) {
        self.change(|held| held.checked_sub(1));
    }

    fn change(&self, change: impl FnMut(usize) -> Option<usize>) -> bool {
        self.held.fetch_update(SeqCst, SeqCst, change).is_ok()
    }

    fn divide_by(&self, alive: NonZeroUsize) {
        self.most.store(self.partitions.div_ceil(alive.get()), SeqCst);
    }
}

/// Announces periodically that this projector runs, and divides the partitions by the number of running projectors. The
/// announcement of a projector that died expires before its leases do. So the others can take its partitions as soon
/// as these are free.
pub(crate) async fn keep(database: Database, owner: Uuid, lease: Duration, share: &Share, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match alive::announce(&database, Group::Projectors, owner, lease / 2).await {
            Ok(alive) => share.divide_by(NonZeroUsize::new(alive.len()).unwrap_or(NonZeroUsize::MIN)),
            Err(error) => tracing::warn!(%error, "cannot determine which projectors are running"),
        }
        shutdown.unless(tokio::time::sleep(lease / 8)).await;
    }
    if let Err(error) = alive::withdraw(&database, Group::Projectors, owner).await {
        tracing::debug!(%error, "cannot withdraw the announcement; it will expire");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projector_has_its_fair_share() {
        let share = Share::new(5);
        assert!((0..5).all(|_| share.take()), "a single projector takes all partitions");
        assert!(!share.take() && !share.give_up());
        share.divide_by(NonZeroUsize::new(2).unwrap());
        assert!(
            share.give_up() && share.give_up() && !share.give_up(),
            "one of two projectors gets three of five partitions"
        );
        share.give_back();
        assert!(share.take() && !share.take());
    }
}
