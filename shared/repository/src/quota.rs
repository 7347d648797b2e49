//! The quotas of companies. A process keeps one fold of each quota, on which its commands are decided one after the
//! other.

use crate::execute::{self, Attempt, Context, Done, ExecuteError, Known, PATIENCE};
use crate::snapshot::{self, Mark};
use futures_util::future::BoxFuture;
use std::future;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;
use waybill_cache::Cache;
use waybill_domain::Aggregate;
use waybill_domain::quota::{Command, QuotaAggregate, State};
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append, read_after};
use waybill_schema::events::QuotaEvent;
use waybill_schema::{CompanyId, Position, Routing};
use waybill_service_kit::new_id;

/// Number of folded events after which a snapshot is written.
const SNAPSHOT_EVERY: u64 = 500;
/// Maximum number of companies whose quotas are kept in memory.
const KEPT: u64 = 10_000;
/// Time after its last use during which a quota is kept in memory.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The quotas of all companies.
pub(crate) struct Quotas(Cache<CompanyId, Mutex<Loaded>>);

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

/// Exclusive right, within this process, to change the quota of a company.
pub struct Held<'a> {
    log: &'a dyn EventLog,
    quota: QuotaAggregate,
    loaded: OwnedMutexGuard<Loaded>,
    known: Known,
    until: Instant,
}

/// Prepares a command to a quota that depends on other aggregates.
pub trait Prepare: Send {
    /// Returns the command for the newest state of the quota. It is called again after a conflict. Reads of other
    /// aggregates that it makes are newer than the state.
    fn command<'a>(&'a mut self, state: &'a State) -> BoxFuture<'a, Result<Command, ExecuteError>>;
}

impl Prepare for Command {
    fn command<'a>(&'a mut self, _: &'a State) -> BoxFuture<'a, Result<Command, ExecuteError>> {
        Box::pin(future::ready(Ok(self.clone())))
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self(Cache::builder(KEPT).time_to_idle(KEPT_FOR).build())
    }
}

impl Quotas {
    /// Waits for the right to change the quota of a company.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if earlier changes do not finish in time.
    pub(crate) async fn hold<'a>(&self, log: &'a dyn EventLog, company: CompanyId) -> Result<Held<'a>, AppendError> {
        let until = Instant::now() + PATIENCE;
        let loaded = self.0.get_with(&company, Mutex::default);
        let loaded = tokio::time::timeout_at(until, loaded.lock_owned()).await;
        let loaded = loaded.map_err(|_| AppendError::Conflict)?;
        Ok(Held { log, quota: QuotaAggregate { company }, loaded, known: Known::Old, until })
    }
}

impl Held<'_> {
    /// Decides on a command and appends the event. Repeats this after a conflict with another process. The first
    /// command reads the new events. A command after one that appended nothing does not read them again.
    ///
    /// # Errors
    /// [`ExecuteError`] if the command is refused or the log fails. It is [`AppendError::Conflict`] if conflicts with
    /// other processes last too long.
    pub fn execute<'a>(
        &'a mut self,
        command: &'a mut dyn Prepare,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
        Box::pin(async move {
            let (known, until) = (self.known, self.until);
            execute::execute(&mut Change { held: self, command, context }, known, until).await
        })
    }

    /// Reads the new events and returns the newest state.
    pub(crate) async fn look(&mut self) -> Result<&State, ReadError> {
        self.loaded.refresh(self.log, &self.quota).await?;
        self.known = Known::Newest;
        Ok(&self.loaded.state)
    }
}

/// Command on a quota.
struct Change<'a, 'h> {
    held: &'a mut Held<'h>,
    command: &'a mut dyn Prepare,
    context: &'a Context,
}

impl Attempt for Change<'_, '_> {
    type Event = QuotaEvent;

    async fn refresh(&mut self) -> Result<(), ReadError> {
        self.held.look().await.map(drop)
    }

    async fn decide(&mut self) -> Result<Option<QuotaEvent>, ExecuteError> {
        let state = &self.held.loaded.state;
        let command = self.command.command(state).await?;
        Ok(QuotaAggregate::decide(state, command)?)
    }

    async fn append(&mut self, event: QuotaEvent) -> Result<Done, ExecuteError> {
        let Held { log, quota, loaded, known, .. } = &mut *self.held;
        *known = Known::Old;
        let envelope = self.context.envelope(Routing::default());
        let (time, message_id) = (envelope.time, new_id().simple().to_string());
        let new = NewEvent {
            subject: quota.subject(),
            envelope,
            event: event.clone().into(),
            expect: Expect::LastSeq(loaded.last.seq),
            message_id: Some(message_id.clone()),
        };
        let position = append(*log, new).await?;
        QuotaAggregate::evolve(&mut loaded.state, &event, time);
        loaded.read_up_to(position.seq, Some(message_id));
        Ok(Done { event: Some(event.into()), position })
    }

    fn position(&self) -> Position {
        let Held { log, quota, loaded, .. } = &*self.held;
        Position { partition: log.partitions().of(quota.company), seq: loaded.last.seq }
    }
}

impl Loaded {
    /// Folds the new events. Writes a snapshot if there are enough of them.
    async fn refresh(&mut self, log: &dyn EventLog, quota: &QuotaAggregate) -> Result<(), ReadError> {
        let generation = log.generation();
        if self.generation != generation {
            *self = Self { generation, ..Self::default() };
        }
        if self.last.seq == 0 {
            self.restore(log, quota).await;
        }
        let mut read = read_after(log, quota.subject(), self.last.seq).await;
        if let Err(ReadError::Diverged { subject, seq }) = &read {
            tracing::warn!(subject, seq, "the stream was restored or replaced; reading a quota again");
            *self = Self { generation, ..Self::default() };
            read = read_after(log, quota.subject(), 0).await;
        }
        for mut stored in read? {
            let id = stored.message_id.take();
            let recorded = stored.into_event()?;
            self.read_up_to(recorded.position.seq, id);
            QuotaAggregate::fold(&mut self.state, &recorded.event, recorded.envelope.time);
        }
        if self.folded_since_snapshot >= SNAPSHOT_EVERY {
            self.folded_since_snapshot = 0;
            self.keep(log, quota).await;
        }
        Ok(())
    }

    /// Replaces the state with the last snapshot, if there is one.
    async fn restore(&mut self, log: &dyn EventLog, quota: &QuotaAggregate) {
        let (Some(version), Some(values)) = (QuotaAggregate::SNAPSHOT_VERSION, log.snapshots()) else { return };
        if let Some((state, last)) = snapshot::read(log, values, quota.subject(), version).await {
            *self = Self { state, last, folded_since_snapshot: 0, generation: self.generation };
        }
    }

    /// Writes a snapshot.
    async fn keep(&self, log: &dyn EventLog, quota: &QuotaAggregate) {
        let (Some(version), Some(values)) = (QuotaAggregate::SNAPSHOT_VERSION, log.snapshots()) else { return };
        let Some(fold) = snapshot::pack(&self.state) else { return };
        if let Err(error) = snapshot::write(values, quota.subject(), version, self.last.clone(), &fold).await {
            tracing::warn!(company = %quota.company, %error, "cannot write the snapshot of a quota");
        }
    }

    /// Records the position of a folded event.
    fn read_up_to(&mut self, seq: u64, id: Option<String>) {
        self.last = Mark { seq, id };
        self.folded_since_snapshot += 1;
    }
}
