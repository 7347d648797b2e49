//! Queues the commands of this process on an aggregate after they have had a conflict. Without the queue they would
//! cause conflicts for each other repeatedly. Conflicts with other processes are still possible and lead to retries.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedMutexGuard;
use waybill_schema::Subject;

type Place = Arc<tokio::sync::Mutex<()>>;

/// Aggregates on which commands of this process wait or hold a turn.
static PLACES: LazyLock<Mutex<HashMap<Subject, Place>>> = LazyLock::new(Mutex::default);

fn places() -> MutexGuard<'static, HashMap<Subject, Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Right to decide on an aggregate until the value is dropped, or a place in the queue for this right.
pub(crate) struct Turn {
    subject: Subject,
    /// `None` only while the turn is dropped.
    place: Option<Place>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Waits for a turn after all earlier commands.
    pub(crate) async fn wait(subject: Subject) -> Self {
        let place = places().entry(subject).or_default().clone();
        // Create the value before the wait, so that a cancelled wait is cleaned up by `drop`.
        let mut turn = Self { subject, place: Some(place.clone()), guard: None };
        turn.guard = Some(place.lock_owned().await);
        turn
    }

    /// Waits for a turn if other commands have or wait for one. Otherwise returns `None` immediately.
    pub(crate) async fn wait_if_met(subject: Subject) -> Option<Self> {
        let met = places().contains_key(&subject);
        if met { Some(Self::wait(subject).await) } else { None }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut places = places();
        // References to the place are created and dropped only under this lock, so that the count shows the last one.
        self.place = None;
        if places.get(&self.subject).is_some_and(|place| Arc::strong_count(place) == 1) {
            places.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Turn, places};
    use waybill_schema::{CompanyId, Entity, Subject, UploadId};
    use waybill_service_kit::new_id;

    fn subject() -> Subject {
        Subject::new(CompanyId(new_id()), Entity::File(UploadId(new_id())))
    }

    #[tokio::test]
    async fn commands_on_one_subject_wait_for_each_other_and_leave_no_entry_behind() {
        let subject = subject();
        assert!(Turn::wait_if_met(subject).await.is_none());
        let first = Turn::wait(subject).await;
        let mut second = Box::pin(Turn::wait_if_met(subject));
        assert!(futures_util::poll!(&mut second).is_pending());
        let mut third = Box::pin(Turn::wait(subject));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        // A command that stops waiting does not block those after it.
        drop(second);
        drop(third.await);
        assert!(!places().contains_key(&subject));
    }
}
