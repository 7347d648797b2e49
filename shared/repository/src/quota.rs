//! The space of companies: one fold a process, which all that change it decide on, one after the other.

use crate::execute::pause;
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
use waybill_schema::{Aggregate as On, CompanyId, Event, Position, Routing, Subject};

/// How many events are folded before the fold is worth keeping.
const SNAPSHOT_EVERY: u64 = 500;
/// Changes whenever [`State`] does: older snapshots are then not read.
const SNAPSHOT_VERSION: u16 = 4;
/// The space of how many companies is kept at hand, and for how long after its last use.
const KEPT: u64 = 10_000;
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How long a change is tried if others come first.
const PATIENCE: Duration = Duration::from_secs(8);

/// A company's space, and how far its subject was read.
#[derive(Clone, Debug, Default)]
struct Loaded {
    state: State,
    /// The last event; of sequence 0 without one.
    last: Mark,
    folded_since_snapshot: u64,
    /// The log's generation that it was read from.
    generation: u64,
}

/// The space of all companies.
pub struct Quotas {
    log: Arc<dyn EventLog>,
    snapshots: Arc<dyn Values>,
    companies: Cache<CompanyId, Mutex<Loaded>>,
}

/// The right to change a company's space, among those of this process.
pub struct Held<'a> {
    quotas: &'a Quotas,
    company: CompanyId,
    loaded: OwnedMutexGuard<Loaded>,
    until: Instant,
    attempts: u32,
}

impl Quotas {
    /// Those in a log, with snapshots in a bucket.
    pub fn new(log: Arc<dyn EventLog>, snapshots: impl Values + 'static) -> Self {
        let snapshots = Arc::new(snapshots);
        Self { log, snapshots, companies: Cache::builder(KEPT).time_to_idle(KEPT_FOR).build() }
    }

    /// Waits for the right to change a company's space; nothing is known of it before [`Held::look`].
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if those who came before are not done in time.
    pub fn hold(&self, company: CompanyId) -> BoxFuture<'_, Result<Held<'_>, AppendError>> {
        Box::pin(async move {
            let until = Instant::now() + PATIENCE;
            let loaded = self.companies.get_with(&company, Mutex::default);
            let loaded = tokio::time::timeout_at(until.into(), loaded.lock_owned()).await;
            let loaded = loaded.map_err(|_| AppendError::Conflict)?;
            Ok(Held { quotas: self, company, loaded, until, attempts: 0 })
        })
    }

    /// A company's space as it is now.
    ///
    /// # Errors
    /// [`ExecuteError`].
    pub fn look(&self, company: CompanyId) -> BoxFuture<'_, Result<State, ExecuteError>> {
        Box::pin(async move {
            let mut held = self.hold(company).await?;
            Ok(held.look().await?.clone())
        })
    }

    /// Changes a company's space: decides on the newest state, again where somebody else was faster. `None` from `decide`
    /// means that there is nothing to change.
    ///
    /// # Errors
    /// [`ExecuteError`].
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
    /// The state as it is now.
    ///
    /// # Errors
    /// [`ReadError`].
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
                    tracing::warn!(company = %self.company, %error, "a quota snapshot was not kept");
                }
            }
            Ok(&self.loaded.state)
        })
    }

    /// The position that reflects what is known.
    pub fn position(&self) -> Position {
        Position { partition: self.quotas.log.partitions().of(self.company), seq: self.loaded.last.seq }
    }

    /// Appends behind what is known. `None` if somebody of another process was faster: look, and decide again.
    ///
    /// # Errors
    /// [`AppendError`]; [`AppendError::Conflict`] if others were faster again and again.
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
        Subject::new(self.company, On::Quota)
    }
}

impl Loaded {
    /// Notes the position of an event that was folded.
    fn read_up_to(&mut self, seq: u64, id: Option<String>) {
        self.last = Mark { seq, id };
        self.folded_since_snapshot += 1;
    }
}
