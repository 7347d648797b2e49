//! The overlay of one partition: recent events that affect access rights, kept until the tables contain them.

use crate::changes::{Changes, History, Scope};
use crate::endings::Endings;
use crate::error::AccessError;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_domain::access::affects_access;
use waybill_event_log::{EventLog, ReadError, Stored};
use waybill_read_model::Database;
use waybill_read_model::queries::{RowsState, rows_state};
use waybill_schema::events::{CompanyClosed, DirectoryEvent, FileDeleted, ShareRevoked};
use waybill_schema::{
    Actor, Causation, CompanyId, Entity, Envelope, Event, FileId, Place, Position, Recorded, Routing, Subject,
    Timestamp, UserId,
};
use waybill_service_kit::now;

/// How long a check of the log's end remains valid.
const FRESH: Duration = Duration::from_millis(400);
/// How long a decision waits until the log is followed to its end. A restart of NATS takes less.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long an event is kept after the tables contain it, because a replica may lag behind.
const KEPT: Duration = Duration::from_secs(60);
/// Maximum number of kept events. More events mean that the projection of the partition has stopped.
const KEPT_MAX: usize = 200_000;
/// Number of kept events above which an event is let go as soon as the tables contain it, so that a burst of changes does
/// not reach [`KEPT_MAX`]. A query of a replica that lags behind is then refused until the replica has caught up.
const CROWDED: usize = KEPT_MAX / 2;
/// Interval at which events that are no longer needed are removed.
const TIDY: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Recent {
    events: HashMap<CompanyId, VecDeque<(Instant, Arc<Recorded>)>>,
    count: usize,
    /// Sequence up to which events were removed or never kept.
    let_go: u64,
    /// Companies with a directory event that a newer version of Waybill wrote and this one cannot read. No access can
    /// be decided until the tables contain the event or the company is parked.
    unknown: HashMap<CompanyId, (Instant, u64)>,
}

/// A check whether the log was followed to its end. Its error is `None` if the end was not reached in time. All callers
/// within [`FRESH`] share one check, even while it waits, so that the latency does not depend on the number of callers.
type Look = Shared<BoxFuture<'static, Result<(), Option<ReadError>>>>;

/// The recent events of a partition that affect access rights.
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    /// The sequence up to which the log was followed, or `None` before the first time.
    at: watch::Sender<Option<u64>>,
    look: Mutex<Option<(Instant, Look)>>,
    epoch: Mutex<Option<String>>,
    endings: Mutex<Endings>,
    changes: Mutex<Changes>,
    /// Message id of the last followed event, if it had one.
    last_id: Mutex<Option<String>>,
    /// Incarnation of the rows in the tables.
    incarnation: Mutex<Option<Uuid>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self {
            recent: Mutex::default(),
            at: watch::Sender::new(None),
            look: Mutex::default(),
            epoch: Mutex::default(),
            endings: Mutex::default(),
            changes: Mutex::default(),
            last_id: Mutex::default(),
            incarnation: Mutex::default(),
        }
    }
}

impl Tail {
    /// Follows the partition from the last followed sequence, or from the checkpoint of the tables.
    pub(crate) async fn follow(
        &self,
        log: &dyn EventLog,
        database: &Database,
        partition: u32,
        forget: &(dyn Fn(&Recorded) + Send + Sync),
    ) -> Result<(), AccessError> {
        let head = log.head(partition).await?;
        let followed = *self.at.borrow();
        let from = match followed {
            // A stream that ends before this sequence, or has another event there, was restored from a copy.
            Some(at) if locked(&self.epoch).as_ref() == Some(&head.epoch) && at <= head.last_seq => {
                self.has_followed(log, Position { partition, seq: at }).await?.then_some(at)
            }
            _ => None,
        };
        let from = match from {
            Some(at) => at,
            None => {
                // No access is decided until this process follows the stream again.
                self.at.send_replace(None);
                // Events before the checkpoint are not kept, so reads from an older sequence must fail. The end of the log
                // is read after it, because the tables can contain an event that was appended in between.
                let state = read_state(database, partition).await?;
                let head = log.head(partition).await?;
                let checkpoint = seq_in(state.as_ref(), &head.epoch);
                if checkpoint > head.last_seq {
                    // The stream was restored from a copy, and the tables were not rebuilt yet.
                    return Err(AccessError::TablesBehind);
                }
                *locked(&self.recent) = Recent { let_go: checkpoint, ..Recent::default() };
                *locked(&self.last_id) = None;
                *locked(&self.incarnation) = state.map(|state| state.incarnation);
                locked(&self.changes).restart(&head.epoch, checkpoint);
                *locked(&self.epoch) = Some(head.epoch);
                locked(&self.endings).restart(now());
                checkpoint
            }
        };
        let mut events = log.subscribe(partition, from).await?;
        self.at.send_replace(Some(from));
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            tokio::select! {
                stored = events.next() => {
                    let Some(stored) = stored else { return Ok(()) };
                    let stored = stored?;
                    let seq = stored.position.seq;
                    locked(&self.changes).note(&stored);
                    match &stored.event {
                        Ok(recorded) if affects_access(&recorded.event) => self.keep(recorded.clone(), forget),
                        Ok(_) => {}
                        Err(_) => self.keep_unreadable(&stored, forget),
                    }
                    *locked(&self.last_id) = stored.message_id;
                    self.at.send_replace(Some(seq));
                }
                _ = tidy.tick() => {
                    locked(&self.endings).tidy(now());
                    let epoch = locked(&self.epoch).clone().unwrap_or_default();
                    // If the checkpoint cannot be read, all events are kept.
                    let read = tokio::time::timeout(TIDY, read_state(database, partition)).await;
                    if let Ok(Ok(state)) = read {
                        self.let_go(seq_in(state.as_ref(), &epoch));
                        *locked(&self.incarnation) = state.map(|state| state.incarnation);
                    }
                }
            }
        }
    }

    fn keep(&self, recorded: Recorded, forget: &(dyn Fn(&Recorded) + Send + Sync)) {
        let recorded = Arc::new(recorded);
        locked(&self.endings).note(&recorded, now());
        {
            let mut recent = locked(&self.recent);
            recent.events.entry(recorded.subject.company).or_default().push_back((Instant::now(), recorded.clone()));
            recent.count += 1;
            if recent.count > KEPT_MAX {
                tracing::error!(partition = recorded.position.partition, "the projection of the partition has stopped");
                *recent = Recent { let_go: recorded.position.seq, ..Recent::default() };
            }
        }
        forget(&recorded);
    }

    /// Keeps an event that a newer version of Waybill wrote and this one cannot read. Because the event may revoke
    /// access, it counts as a deletion or revocation until the tables contain it.
    fn keep_unreadable(&self, stored: &Stored, forget: &(dyn Fn(&Recorded) + Send + Sync)) {
        let Ok(subject) = Subject::parse(&stored.subject) else { return };
        let event = match subject.aggregate {
            Entity::File(_) => FileDeleted {}.into(),
            Entity::Share(_) => ShareRevoked {}.into(),
            Entity::Directory => {
                locked(&self.recent).unknown.insert(subject.company, (Instant::now(), stored.position.seq));
                CompanyClosed {}.into()
            }
            _ => return,
        };
        let envelope = Envelope {
            time: Timestamp::default(),
            actor: Actor::Service("unknown".to_owned()),
            causation: Causation::Event(stored.position),
            address: None,
            routing: Routing::default(),
        };
        let recorded = Recorded { position: stored.position, subject, envelope, event };
        match subject.aggregate {
            // No access is decided for the company, and its cache entries are invalidated.
            Entity::Directory => {
                locked(&self.endings).note(&recorded, now());
                forget(&recorded);
            }
            _ => self.keep(recorded, forget),
        }
    }

    /// Removes events that the tables contain and that were kept for longer than [`KEPT`], or at all if there are more
    /// than [`CROWDED`].
    fn let_go(&self, checkpoint: u64) {
        let mut recent = locked(&self.recent);
        let Recent { events, count, let_go, unknown } = &mut *recent;
        let kept = if *count > CROWDED { Duration::ZERO } else { KEPT };
        unknown.retain(|_, (at, seq)| *seq > checkpoint || at.elapsed() <= KEPT);
        events.retain(|_, events| {
            while let Some((kept_at, recorded)) = events.front()
                && recorded.position.seq <= checkpoint
                && kept_at.elapsed() >= kept
            {
                *let_go = (*let_go).max(recorded.position.seq);
                *count -= 1;
                events.pop_front();
            }
            !events.is_empty()
        });
    }

    /// Returns the sequence up to which the log was followed.
    pub(crate) fn at(&self) -> u64 {
        self.at.borrow().unwrap_or(0)
    }

    /// Returns the sequence after which all events are kept that affect access.
    pub(crate) fn oldest(&self) -> u64 {
        locked(&self.recent).let_go
    }

    /// Waits until the log is followed to the end that it had at most [`FRESH`] ago.
    pub(crate) async fn reach_the_end(&self, log: &Arc<dyn EventLog>, partition: u32) -> Result<(), AccessError> {
        let look = {
            let mut shared = locked(&self.look);
            match &*shared {
                Some((began, look)) if began.elapsed() < FRESH => look.clone(),
                _ => shared.insert((Instant::now(), self.look_at_the_end(log.clone(), partition))).1.clone(),
            }
        };
        look.await.map_err(|missed| missed.map_or(AccessError::Behind, AccessError::Log))
    }

    fn look_at_the_end(&self, log: Arc<dyn EventLog>, partition: u32) -> Look {
        let mut at = self.at.subscribe();
        let reached = async move {
            let end = log.head(partition).await.map_err(Some)?.last_seq;
            tokio::select! {
                reached = at.wait_for(|at| at.is_some_and(|at| at >= end)) => reached.map(drop).map_err(|_| None),
                () = log.silent() => Err(None),
            }
        };
        let until = tokio::time::Instant::now() + PATIENCE;
        async move { tokio::time::timeout_at(until, reached).await.unwrap_or(Err(None)) }.boxed().shared()
    }

    /// Returns `true` if the access of a user to a file may have ended at `since` or later, as far as the log was followed.
    pub(crate) fn may_have_ended(&self, company: CompanyId, user: UserId, file: FileId, since: Timestamp) -> bool {
        locked(&self.endings).any_since(company, user, file, since)
    }

    /// Returns `true` if the stream still has the event that was followed last, as far as that can be checked.
    async fn has_followed(&self, log: &dyn EventLog, position: Position) -> Result<bool, AccessError> {
        let Some(id) = locked(&self.last_id).clone() else { return Ok(true) };
        let found = log.at(position).await?;
        Ok(found.is_some_and(|found| found.message_id == Some(id)))
    }

    /// Returns `true` if certainly nothing in the scopes has changed after `seq` of the history, as far as the log was followed. Of rows
    /// that are ahead of this process, nothing is certain.
    pub(crate) fn none_changed(&self, history: &History, seq: u64, scopes: impl IntoIterator<Item = Scope>) -> bool {
        seq <= self.at()
            && *locked(&self.incarnation) == Some(history.incarnation)
            && locked(&self.changes).none_since(&history.epoch, seq, scopes)
    }

    /// Returns the history of the rows in the tables; `None` before the first event.
    pub(crate) fn history(&self) -> Option<History> {
        let incarnation = (*locked(&self.incarnation))?;
        Some(History { epoch: locked(&self.changes).epoch().to_owned(), incarnation })
    }

    /// Waits until the log is followed up to `seq`.
    pub(crate) async fn reach(&self, seq: u64) -> Result<(), AccessError> {
        let mut at = self.at.subscribe();
        let reached = tokio::time::timeout(PATIENCE, at.wait_for(|at| at.is_some_and(|at| at >= seq))).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(AccessError::Behind),
        }
    }

    /// Returns the places that a user was added to recently.
    pub(crate) fn joined(&self, company: CompanyId, user: UserId) -> Vec<Place> {
        let recent = locked(&self.recent);
        let mut places = Vec::new();
        for (_, recorded) in recent.events.get(&company).into_iter().flatten() {
            if let Event::Directory(DirectoryEvent::MemberAdded(added)) = &recorded.event
                && added.user_id == user
            {
                places.push(added.place);
            }
        }
        places
    }

    /// Returns the kept events of a company after `seq`, or an error if events after `seq` are missing or unreadable.
    pub(crate) fn since(&self, company: CompanyId, seq: u64) -> Result<Vec<Arc<Recorded>>, AccessError> {
        let recent = locked(&self.recent);
        if recent.unknown.get(&company).is_some_and(|(_, unknown)| *unknown > seq) {
            return Err(AccessError::TablesBehind);
        }
        let Some(events) = recent.events.get(&company) else {
            return if seq >= recent.let_go { Ok(Vec::new()) } else { Err(AccessError::TablesBehind) };
        };
        if seq < recent.let_go {
            return Err(AccessError::TablesBehind);
        }
        let from = events.partition_point(|(_, recorded)| recorded.position.seq <= seq);
        Ok(events.range(from..).map(|(_, recorded)| recorded.clone()).collect())
    }
}

/// Returns the state of the rows of the partition.
async fn read_state(database: &Database, partition: u32) -> Result<Option<RowsState>, AccessError> {
    let mut connection = database.connection().await?;
    Ok(rows_state(&mut connection, partition).await?)
}

/// Returns the sequence up to which the rows contain the events, or 0 if they belong to another stream.
fn seq_in(state: Option<&RowsState>, epoch: &str) -> u64 {
    state.filter(|at| at.epoch == epoch).map_or(0, |at| at.seq.unsigned_abs())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schema::UploadId;

    /// Returns a tail with this number of recent events of one company, from sequence 1 on.
    fn with(events: u64) -> (Tail, CompanyId) {
        let (tail, company) = (Tail::default(), CompanyId(Uuid::from_u128(1)));
        for seq in 1..=events {
            let position = Position { partition: 0, seq };
            let envelope = Envelope {
                time: Timestamp::default(),
                actor: Actor::Service("test".to_owned()),
                causation: Causation::Event(position),
                address: None,
                routing: Routing::default(),
            };
            let subject = Subject::new(company, Entity::File(UploadId(Uuid::from_u128(2))));
            tail.keep(Recorded { position, subject, envelope, event: FileDeleted {}.into() }, &|_| {});
        }
        (tail, company)
    }

    #[test]
    fn l3_a_burst_of_changes_lets_go_what_the_tables_contain_before_the_limit_is_reached() {
        let (tail, company) = with(100);
        tail.let_go(90);
        assert_eq!(tail.since(company, 0).unwrap().len(), 100);
        let crowded = u64::try_from(CROWDED).unwrap() + 1;
        let (tail, company) = with(crowded);
        tail.let_go(crowded - 10);
        assert!(tail.since(company, 0).is_err());
        assert_eq!(tail.since(company, crowded - 10).unwrap().len(), 10);
    }
}
