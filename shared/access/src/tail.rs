//! The end of one partition: those of its newest events that say who may do what.

use crate::AccessError;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use waybill_event_log::{EventLog, ReadError, Stored};
use waybill_read_model::{Database, projection};
use waybill_schema::events::{CompanyClosedV1, FileDeletedV1, ShareRevokedV1};
use waybill_schema::{Actor, Aggregate, Causation, CompanyId, Envelope, Event, Recorded, Routing, Subject, Timestamp};

/// For how long the log's end is taken as seen.
const FRESH: Duration = Duration::from_millis(400);
/// How long a decision waits until the log is followed to its end: as long as a restart of NATS may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long an event is kept once the tables hold it: a replica may lag behind them.
const KEPT: Duration = Duration::from_secs(60);
/// How many events are kept at most; more means that the tables have stopped.
const KEPT_MAX: usize = 200_000;
/// How often what is no longer needed is let go.
const TIDY: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Recent {
    events: HashMap<CompanyId, VecDeque<(Instant, Arc<Recorded>)>>,
    count: usize,
    /// Events up to here are not kept any more, or never were.
    let_go: u64,
    /// Companies with an event of the directory that a newer version has written: until the tables hold it, or hide the
    /// company, nobody here knows who may do what.
    unknown: HashMap<CompanyId, (Instant, u64)>,
}

/// One look whether the log was followed to its end; of one that fails, why: `None` if the end was not reached in time.
/// All who ask within [`FRESH`] share it, also while it waits: how long an answer takes does not depend on how many ask.
type Look = Shared<BoxFuture<'static, Result<(), Option<ReadError>>>>;

/// The newest events of a partition.
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    /// Up to where the log was followed; `None` before it was.
    at: watch::Sender<Option<u64>>,
    look: Mutex<Option<(Instant, Look)>>,
    epoch: Mutex<Option<String>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { recent: Mutex::default(), at: watch::Sender::new(None), look: Mutex::default(), epoch: Mutex::default() }
    }
}

impl Tail {
    /// Follows the partition from where it was followed before, or from where the tables are.
    pub(crate) async fn follow(
        &self,
        log: &dyn EventLog,
        database: &Database,
        partition: u32,
        forget: &(dyn Fn(&Recorded) + Send + Sync),
    ) -> Result<(), AccessError> {
        let head = log.head(partition).await?;
        let from = match *self.at.borrow() {
            // A stream that ends before was restored from a copy.
            Some(at) if locked(&self.epoch).as_ref() == Some(&head.epoch) && at <= head.last_seq => Some(at),
            _ => None,
        };
        let from = match from {
            Some(at) => at,
            None => {
                // Of what came before the tables nothing is kept, so nothing older may be asked for.
                let checkpoint = self.checkpoint(database, partition, &head.epoch).await?;
                if checkpoint > head.last_seq {
                    // The stream was restored from a copy, and the tables are still those of before.
                    return Err(AccessError::TablesBehind);
                }
                *locked(&self.recent) = Recent { let_go: checkpoint, ..Recent::default() };
                *locked(&self.epoch) = Some(head.epoch);
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
                    match &stored.event {
                        Ok(recorded) if matters(recorded) => self.keep(recorded.clone(), forget),
                        Ok(_) => {}
                        Err(_) => self.keep_unreadable(&stored, forget),
                    }
                    self.at.send_replace(Some(seq));
                }
                _ = tidy.tick() => {
                    let epoch = locked(&self.epoch).clone().unwrap_or_default();
                    // Where the tables do not answer, what there is is kept.
                    if let Ok(checkpoint) = self.checkpoint(database, partition, &epoch).await {
                        self.let_go(checkpoint);
                    }
                }
            }
        }
    }

    async fn checkpoint(&self, database: &Database, partition: u32, epoch: &str) -> Result<u64, AccessError> {
        let mut connection = database.connection().await?;
        let checkpoint = projection::checkpoint(&mut connection, partition).await?;
        Ok(checkpoint.filter(|at| at.epoch == epoch).map_or(0, |at| at.seq.unsigned_abs()))
    }

    fn keep(&self, recorded: Recorded, forget: &(dyn Fn(&Recorded) + Send + Sync)) {
        let recorded = Arc::new(recorded);
        {
            let mut recent = locked(&self.recent);
            recent.events.entry(recorded.subject.company).or_default().push_back((Instant::now(), recorded.clone()));
            recent.count += 1;
            if recent.count > KEPT_MAX {
                tracing::error!(partition = recorded.position.partition, "the tables have stopped following the log");
                *recent = Recent { let_go: recorded.position.seq, ..Recent::default() };
            }
        }
        forget(&recorded);
    }

    /// Of an event that cannot be read the worst is supposed, until the tables hold it: a newer version wrote it, and it may
    /// take something away.
    fn keep_unreadable(&self, stored: &Stored, forget: &(dyn Fn(&Recorded) + Send + Sync)) {
        let Ok(subject) = Subject::parse(&stored.subject) else { return };
        let event = match subject.aggregate {
            Aggregate::File(_) => FileDeletedV1 {}.into(),
            Aggregate::Share(_) => ShareRevokedV1 {}.into(),
            Aggregate::Directory => {
                locked(&self.recent).unknown.insert(subject.company, (Instant::now(), stored.position.seq));
                CompanyClosedV1 {}.into()
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
            // Nothing is decided for the company; what is remembered of it goes.
            Aggregate::Directory => forget(&recorded),
            _ => self.keep(recorded, forget),
        }
    }

    /// Lets go of what the tables hold for a while now.
    fn let_go(&self, checkpoint: u64) {
        let mut recent = locked(&self.recent);
        let Recent { events, count, let_go, unknown } = &mut *recent;
        unknown.retain(|_, (at, seq)| *seq > checkpoint || at.elapsed() <= KEPT);
        events.retain(|_, events| {
            while let Some((kept_at, recorded)) = events.front()
                && recorded.position.seq <= checkpoint
                && kept_at.elapsed() > KEPT
            {
                *let_go = (*let_go).max(recorded.position.seq);
                *count -= 1;
                events.pop_front();
            }
            !events.is_empty()
        });
    }

    /// Up to where the log was followed.
    pub(crate) fn at(&self) -> u64 {
        self.at.borrow().unwrap_or(0)
    }

    /// Makes sure that what is known is no older than a moment.
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

    /// Until the log has been followed up to `seq`.
    pub(crate) async fn reach(&self, seq: u64) -> Result<(), AccessError> {
        let mut at = self.at.subscribe();
        let reached = tokio::time::timeout(PATIENCE, at.wait_for(|at| at.is_some_and(|at| at >= seq))).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(AccessError::Behind),
        }
    }

    /// The events of a company behind `seq`.
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
        Ok(events.iter().map(|(_, recorded)| recorded.clone()).filter(|recorded| recorded.position.seq > seq).collect())
    }
}

/// Whether an event says who may do what.
fn matters(recorded: &Recorded) -> bool {
    match recorded.subject.aggregate {
        Aggregate::Directory | Aggregate::Share(_) => true,
        Aggregate::File(_) => {
            matches!(recorded.event, Event::FileDeleted(_) | Event::FileRestored(_) | Event::FilePurged(_))
        }
        _ => false,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
