//! Whose turn it is to decide on an aggregate, among the commands of this process that have met there. Commands that meet
//! would refuse each other's events again and again; those of other processes still do, and are tried again.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;
use waybill_schema::Subject;

type Place = Arc<tokio::sync::Mutex<()>>;

/// The aggregates on which commands have met, for as long as one of them is there.
static PLACES: LazyLock<Mutex<HashMap<Subject, Place>>> = LazyLock::new(Mutex::default);

fn places() -> MutexGuard<'static, HashMap<Subject, Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to decide, which lasts as long as the value; also a place in the queue for it.
pub(crate) struct Turn {
    subject: Subject,
    /// Until it is given up.
    place: Option<Place>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Waits for it, behind those who came before.
    pub(crate) async fn wait(subject: Subject) -> Self {
        let place = places().entry(subject).or_default().clone();
        // Made before the wait: who gives up waiting leaves nothing behind.
        let mut turn = Self { subject, place: Some(place.clone()), guard: None };
        turn.guard = Some(place.lock_owned().await);
        turn
    }

    /// Waits for it if others have met there.
    pub(crate) async fn wait_if_met(subject: Subject) -> Option<Self> {
        let met = places().contains_key(&subject);
        if met { Some(Self::wait(subject).await) } else { None }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut places = places();
        // Shares are taken and given up with this lock alone, so the last one is known.
        self.place = None;
        if places.get(&self.subject).is_some_and(|place| Arc::strong_count(place) == 1) {
            places.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Turn, places};
    use uuid::Uuid;
    use waybill_schema::{Aggregate, CompanyId, Subject, UploadId};

    fn subject() -> Subject {
        Subject::new(CompanyId(Uuid::now_v7()), Aggregate::File(UploadId(Uuid::now_v7())))
    }

    #[tokio::test]
    async fn those_who_meet_wait_for_each_other_and_leave_nothing_behind() {
        let subject = subject();
        assert!(Turn::wait_if_met(subject).await.is_none());
        let first = Turn::wait(subject).await;
        let mut second = Box::pin(Turn::wait_if_met(subject));
        assert!(futures_util::poll!(&mut second).is_pending());
        let mut third = Box::pin(Turn::wait(subject));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        // One that gives up does not hold up those behind it.
        drop(second);
        drop(third.await);
        assert!(!places().contains_key(&subject));
    }
}
