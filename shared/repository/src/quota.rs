//! The quotas of companies. A process keeps one fold of each quota, on which its changes are decided one after the
//! other.

use crate::execute::{PATIENCE, pause};
use crate::snapshot::{self, Mark};
use crate::{Context, ExecuteError};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;
use waybill_cache::Cache;
use waybill_domain::Refusal;
use waybill_domain::quota::{self, State};
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, Values, append, read_after};
use waybill_schema::events::QuotaEvent;
use waybill_schema::{CompanyId, Entity, Event, Position, Routing, Subject};

/// Number of folded events after which a snapshot is written.
const SNAPSHOT_EVERY: u64 = 500;
/// Version of the snapshots. It must change when [`State`] changes, so that older snapshots are not read.
const SNAPSHOT_VERSION: u16 = 4;
/// Maximum number of companies whose quotas are kept in memory.
const KEPT: u64 = 10_000;
/// Time after its last use during which a quota is kept in memory.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// Quota of a company, and the position up to which its subject was read.
#[derive(Clone, Debug, Default)]
struct Loaded {
    state: State,
    /// The last event. Its sequence is 0 if there is no event.
    last: Mark,
    folded_since_snapshot: u64,
    /// Generation of the log that the events were read from.
    generation: u64,
}

/// The quotas of all companies.
pub struct Quotas {
    log: Arc<dyn EventLog>,
    snapshots: Arc<dyn Values>,
    companies: Cache<CompanyId, Mutex<Loaded>>,
}

/// Exclusive right, within this process, to change the quota of a company.
pub struct Held<'a> {
    quotas: &'a Quotas,
    company: CompanyId,
    loaded: OwnedMutexGuard<Loaded>,
    until: Instant,
    attempts: u32,
}

impl Quotas {
    /// Creates the quotas of a log with a bucket for their snapshots.
    pub fn new(log: Arc<dyn EventLog>, snapshots: impl Values + 'static) -> Self {
        let snapshots = Arc::new(snapshots);
        Self { log, snapshots, companies: Cache::builder(KEPT).time_to_idle(KEPT_FOR).build() }
    }

    /// Waits for the right to change the quota of a company. Call [`Held::look`] to read the state.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if earlier changes do not finish in time.
    pub fn hold(&self, company: CompanyId) -> BoxFuture<'_, Result<Held<'_>, AppendError>> {
        Box::pin(async move {
            let until = Instant::now() + PATIENCE;
            let loaded = self.companies.get_with(&company, Mutex::default);
            let loaded = tokio::time::timeout_at(until.into(), loaded.lock_owned()).await;
            let loaded = loaded.map_err(|_| AppendError::Conflict)?;
            Ok(Held { quotas: self, company, loaded, until, attempts: 0 })
        })
    }

    /// Returns the newest state of the quota of a company.
    ///
    /// # Errors
    /// [`ExecuteError`] if earlier changes do not finish in time or the log cannot be read.
    pub fn look(&self, company: CompanyId) -> BoxFuture<'_, Result<State, ExecuteError>> {
        Box::pin(async move {
            let mut held = self.hold(company).await?;
            Ok(held.look().await?.clone())
        })
    }

    /// Changes the quota of a company: decides on the newest state and appends the event. Repeats this after a
    /// conflict. `decide` returns `None` if there is nothing to change.
    ///
    /// # Errors
    /// [`ExecuteError`] if the change is refused or the log fails.
    pub fn change<'a>(
        &'a self,
        context: &'a Context,
        company: CompanyId,
        decide: &'a (dyn Fn(&State) -> Result<Option<QuotaEvent>, Refusal> + Sync),
    ) -> BoxFuture<'a, Result<Position, ExecuteError>> {
        Box::pin(async move {
            let mut held = self.hold(company).await?;
            loop {
                let Some(event) = decide(held.look().await?)? else { return Ok(held.position()) };
                if let Some(position) = held.append(context, event).await? {
                    return Ok(position);
                }
            }
        })
    }
}

impl Held<'_> {
    /// Reads the new events and returns the newest state.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub fn look(&mut self) -> BoxFuture<'_, Result<&State, ReadError>> {
        Box::pin(async move {
            let Quotas { log, snapshots, .. } = self.quotas;
            let generation = log.generation();
            if self.loaded.generation != generation {
                *self.loaded = Loaded { generation, ..Loaded::default() };
            }
            let subject = self.subject();
            if self.loaded.last.seq == 0
                && let Some((state, last)) =
                    snapshot::read(log.as_ref(), snapshots.as_ref(), subject, SNAPSHOT_VERSION).await
            {
                *self.loaded = Loaded { state, last, generation, folded_since_snapshot: 0 };
            }
            let mut read = read_after(log.as_ref(), subject, self.loaded.last.seq).await;
            if let Err(ReadError::Diverged { subject, seq }) = &read {
                tracing::warn!(subject, seq, "the stream was restored or replaced; reading a quota again");
                *self.loaded = Loaded { generation, ..Loaded::default() };
                read = read_after(log.as_ref(), self.subject(), 0).await;
            }
            for mut stored in read? {
                let id = stored.message_id.take();
                let recorded = stored.into_event()?;
                self.loaded.read_up_to(recorded.position.seq, id);
                if let Event::Quota(event) = &recorded.event {
                    quota::evolve(&mut self.loaded.state, event, recorded.envelope.time);
                }
            }
            if self.loaded.folded_since_snapshot >= SNAPSHOT_EVERY {
                self.loaded.folded_since_snapshot = 0;
                if let Some(fold) = snapshot::pack(&self.loaded.state)
                    && let Err(error) =
                        snapshot::write(snapshots.as_ref(), subject, SNAPSHOT_VERSION, self.loaded.last.clone(), &fold)
                            .await
                {
                    tracing::warn!(company = %self.company, %error, "cannot write the snapshot of a quota");
                }
            }
            Ok(&self.loaded.state)
        })
    }

    /// Returns the position up to which the events were read.
    pub fn position(&self) -> Position {
        Position { partition: self.quotas.log.partitions().of(self.company), seq: self.loaded.last.seq }
    }

    /// Appends an event after the last known event. Returns `None` after a conflict with another process: the caller
    /// must then call [`Held::look`] and decide again.
    ///
    /// # Errors
    /// [`AppendError`]. It is [`AppendError::Conflict`] if conflicts with other processes last too long.
    pub fn append<'a>(
        &'a mut self,
        context: &'a Context,
        event: QuotaEvent,
    ) -> BoxFuture<'a, Result<Option<Position>, AppendError>> {
        Box::pin(async move {
            self.attempts += 1;
            let envelope = context.envelope(Routing::default());
            let (time, message_id) = (envelope.time, Uuid::now_v7().simple().to_string());
            let new = NewEvent {
                subject: self.subject(),
                envelope,
                event: event.clone().into(),
                expect: Expect::LastSeq(self.loaded.last.seq),
                message_id: Some(message_id.clone()),
            };
            match append(self.quotas.log.as_ref(), new).await {
                Ok(position) => {
                    quota::evolve(&mut self.loaded.state, &event, time);
                    self.loaded.read_up_to(position.seq, Some(message_id));
                    Ok(Some(position))
                }
                Err(AppendError::Conflict) if Instant::now() < self.until => {
                    pause(self.attempts.min(2)).await;
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
    }

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::Quota)
    }
}

impl Loaded {
    /// Records the position of a folded event.
    fn read_up_to(&mut self, seq: u64, id: Option<String>) {
        self.last = Mark { seq, id };
        self.folded_since_snapshot += 1;
    }
}
