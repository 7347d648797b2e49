//! Which part of the partitions a projector takes: as many as each of the living ones would have.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::Database;
use waybill_read_model::alive::{self, Group};
use waybill_service_kit::Shutdown;

/// How many partitions this projector has, and how many it should have at most.
#[derive(Debug)]
pub(crate) struct Share {
    partitions: usize,
    held: AtomicUsize,
    most: AtomicUsize,
}

impl Share {
    /// Of `partitions`, all, until it is known who else is there.
    pub(crate) fn new(partitions: usize) -> Self {
        Self { partitions, held: AtomicUsize::new(0), most: AtomicUsize::new(partitions) }
    }

    /// One partition more, if that is within the share.
    pub(crate) fn take(&self) -> bool {
        self.change(|held| (held < self.most.load(SeqCst)).then_some(held + 1))
    }

    /// One partition fewer, if there are more than the share.
    pub(crate) fn give_up(&self) -> bool {
        self.change(|held| (held > self.most.load(SeqCst)).then(|| held - 1))
    }

    /// One partition fewer.
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

/// Says again and again that this projector lives, and counts those that do. One that died is not counted any more
/// before its leases run out: by then the others may take its partitions.
pub(crate) async fn keep(database: Database, owner: Uuid, lease: Duration, share: &Share, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match alive::announce(&database, Group::Projectors, owner, lease / 2).await {
            Ok(alive) => share.divide_by(NonZeroUsize::new(alive.len()).unwrap_or(NonZeroUsize::MIN)),
            Err(error) => tracing::warn!(%error, "it is not known which projectors are alive"),
        }
        shutdown.unless(tokio::time::sleep(lease / 8)).await;
    }
    if let Err(error) = alive::withdraw(&database, Group::Projectors, owner).await {
        tracing::debug!(%error, "the others will notice by themselves");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projector_has_its_fair_share() {
        let share = Share::new(5);
        assert!((0..5).all(|_| share.take()), "alone it takes all");
        assert!(!share.take() && !share.give_up());
        share.divide_by(NonZeroUsize::new(2).unwrap());
        assert!(share.give_up() && share.give_up() && !share.give_up(), "of five, three are the share of one of two");
        share.give_back();
        assert!(share.take() && !share.take());
    }
}
