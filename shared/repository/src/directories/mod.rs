//! The directories of companies. A process keeps one fold of each directory in memory, and evicts the least recently
//! used folds if there are too many entries.
//!
//! Changes of a directory wait for each other. Reads do not wait: they fold the new events themselves. A fold begins
//! with its snapshot. A snapshot is written when the number of new events reaches one sixteenth of the entries, but at
//! least 2,000.

mod folds;
mod kept;

use folds::Folds;
use kept::{Fold, Kept};
use waybill_service_kit::new_id;

use crate::execute::{self, Attempt, Context, Done, ExecuteError, Known, PATIENCE};
use crate::snapshot::{self, Mark};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;
use waybill_domain::Aggregate;
use waybill_domain::directory::{Command, DirectoryAggregate, State, decide_within};
use waybill_event_log::{Back, EventLog, Expect, NewEvent, ReadError, append, read_back, read_rest};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{CompanyId, Event, Position, Routing};

/// Minimum number of new events before a snapshot is written.
const SNAPSHOT_EVERY: usize = 2_000;
/// A snapshot is written if the number of new events is at least the number of entries divided by this.
const SNAPSHOT_PART: usize = 16;

/// Limits on the size of directories.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// Maximum number of entries of one directory ([`State::len`]).
    pub max_entries: usize,
    /// Approximate maximum number of entries of all directories that are kept in memory.
    pub kept_entries: usize,
}

/// The directories of a log. Commands are decided on their newest state.
pub struct Directories {
    log: Arc<dyn EventLog>,
    limits: DirectoryLimits,
    folds: Folds,
}

impl Directories {
    /// Creates the directories of a log.
    pub fn new(log: Arc<dyn EventLog>, limits: DirectoryLimits) -> Self {
        Self { log, limits, folds: Folds::new(limits.kept_entries) }
    }

    /// Returns the maximum number of entries of one directory.
    pub fn max_entries(&self) -> usize {
        self.limits.max_entries
    }

    /// Calls `look` with the newest state of a directory.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub async fn look<T>(&self, company: CompanyId, look: impl FnOnce(&State) -> T) -> Result<T, ReadError> {
        let kept = self.refreshed(company).await?;
        Ok(look(&kept.read().state))
    }

    /// Returns the fold of a directory with all events that the log contains now.
    fn refreshed(&self, company: CompanyId) -> BoxFuture<'_, Result<Arc<Kept>, ReadError>> {
        Box::pin(async move {
            let kept = self.folds.of(company);
            self.refresh(&kept).await?;
            self.keep_snapshot(&kept).await;
            Ok(kept)
        })
    }

    /// Carries out commands in order. Returns a position that reflects the last one.
    ///
    /// # Errors
    /// The index of the first command that failed, and its error. The commands before it were carried out.
    pub fn run<'a>(
        &'a self,
        company: CompanyId,
        context: &'a Context,
        commands: impl IntoIterator<Item = Command>,
    ) -> BoxFuture<'a, Result<Option<Position>, (usize, ExecuteError)>> {
        self.run_all(company, context, commands.into_iter().collect())
    }

    fn run_all<'a>(
        &'a self,
        company: CompanyId,
        context: &'a Context,
        commands: Vec<Command>,
    ) -> BoxFuture<'a, Result<Option<Position>, (usize, ExecuteError)>> {
        Box::pin(async move {
            let kept = self.folds.of(company);
            let done = self.run_in_turn(&kept, context, commands).await;
            self.folds.weigh(&kept);
            self.keep_snapshot(&kept).await;
            done
        })
    }

    async fn run_in_turn(
        &self,
        kept: &Kept,
        context: &Context,
        commands: Vec<Command>,
    ) -> Result<Option<Position>, (usize, ExecuteError)> {
        let turn = execute::wait(Instant::now() + PATIENCE, kept.writer.lock()).await;
        let _turn = turn.map_err(|error| (0, error.into()))?;
        self.refresh(kept).await.map_err(|error| (0, error.into()))?;
        let (mut position, mut known) = (None, Known::Newest);
        for (index, command) in commands.into_iter().enumerate() {
            let mut change = Change { directories: self, kept, context, command, decided_at: 0 };
            let done = execute::execute(&mut change, known, Instant::now() + PATIENCE).await;
            position = Some(done.map_err(|error| (index, error))?.position);
            known = Known::Recent;
        }
        Ok(position)
    }

    /// Folds the new events. If the stream was restored or replaced, all events are folded again.
    async fn refresh(&self, kept: &Kept) -> Result<(), ReadError> {
        let generation = self.log.generation();
        if kept.read().generation != generation {
            kept.write().begin_again(generation);
        }
        let _loading = if kept.read().last.seq == 0 { Some(kept.loader.lock().await) } else { None };
        let mut read = self.read_new(kept).await;
        if let Err(ReadError::Diverged { subject, seq }) = &read {
            tracing::warn!(subject, seq, "the stream was restored or replaced; reading a directory again");
            kept.write().begin_again(generation);
            read = self.read_new(kept).await;
        }
        read?;
        self.folds.weigh(kept);
        Ok(())
    }

    async fn read_new(&self, kept: &Kept) -> Result<(), ReadError> {
        let (log, subject) = (self.log.as_ref(), kept.directory.subject());
        let (known, begun) = {
            let fold = kept.read();
            (fold.last.seq, fold.begun)
        };
        let last = log.last(subject).await?;
        let back = read_back(log, subject, last, known).await?;
        if known == 0
            && matches!(back, Back::Newest(_))
            && let (Some(version), Some(values)) = (DirectoryAggregate::SNAPSHOT_VERSION, log.snapshots())
            && let Some((state, last)) = snapshot::read(log, values, subject, version).await
        {
            let mut fold = kept.write();
            if fold.last.seq < last.seq && fold.begun == begun {
                let (generation, begun) = (fold.generation, fold.begun);
                *fold = Fold { state, last, is_new: 0, generation, begun };
            }
        }
        // All events up to this one are folded, even if other tasks fold more events in the meantime.
        let known = kept.read().last.seq.max(known);
        let mut folded = Vec::new();
        for mut stored in read_rest(log, subject, back, known).await? {
            let id = stored.message_id.take();
            let recorded = stored.into_event()?;
            folded.push((recorded.event, Mark { seq: recorded.position.seq, id }));
        }
        let mut fold = kept.write();
        if fold.begun == begun {
            folded.into_iter().for_each(|(event, last)| fold.take(&event, last));
        }
        Ok(())
    }

    /// Writes a snapshot if there are enough new events. A separate task finishes it even if the caller is dropped.
    async fn keep_snapshot(&self, kept: &Arc<Kept>) {
        let is_due = {
            let fold = kept.read();
            fold.is_new >= SNAPSHOT_EVERY.max(fold.state.len() / SNAPSHOT_PART)
        };
        if !is_due || kept.is_being_written.swap(true, Ordering::SeqCst) {
            return;
        }
        let (log, kept) = (self.log.clone(), kept.clone());
        let written = tokio::spawn(async move {
            write_snapshot(log.as_ref(), &kept).await;
            kept.is_being_written.store(false, Ordering::SeqCst);
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the task that writes the snapshot of a directory failed");
        }
    }
}

/// Command on a directory. The caller holds [`Kept::writer`].
struct Change<'a> {
    directories: &'a Directories,
    kept: &'a Kept,
    context: &'a Context,
    command: Command,
    /// Sequence of the last event that the last decision knew. Other tasks may fold newer events after it.
    decided_at: u64,
}

impl Attempt for Change<'_> {
    type Event = DirectoryEvent;

    async fn refresh(&mut self) -> Result<(), ReadError> {
        self.directories.refresh(self.kept).await
    }

    async fn decide(&mut self) -> Result<Option<DirectoryEvent>, ExecuteError> {
        let fold = self.kept.read();
        self.decided_at = fold.last.seq;
        Ok(decide_within(&fold.state, self.command.clone(), self.directories.limits.max_entries)?)
    }

    async fn append(&mut self, event: DirectoryEvent) -> Result<Done, ExecuteError> {
        let id = new_id().simple().to_string();
        let event = Event::Directory(event);
        let new = NewEvent {
            subject: self.kept.directory.subject(),
            envelope: self.context.envelope(Routing::default()),
            event: event.clone(),
            expect: Expect::LastSeq(self.decided_at),
            message_id: Some(id.clone()),
        };
        let position = append(self.directories.log.as_ref(), new).await?;
        let mut fold = self.kept.write();
        // Skip the event if the fold was begun again, or another task has read the event already.
        if fold.last.seq == self.decided_at {
            fold.take(&event, Mark { seq: position.seq, id: Some(id) });
        }
        Ok(Done { event: Some(event), position })
    }

    fn position(&self) -> Position {
        Position { partition: self.directories.log.partitions().of(self.kept.directory.company), seq: self.decided_at }
    }
}

async fn write_snapshot(log: &dyn EventLog, kept: &Kept) {
    let (Some(version), Some(values)) = (DirectoryAggregate::SNAPSHOT_VERSION, log.snapshots()) else { return };
    let (bytes, last) = {
        let fold = kept.read();
        (snapshot::pack(&fold.state), fold.last.clone())
    };
    kept.write().is_new = 0;
    let Some(bytes) = bytes else { return };
    if let Err(error) = snapshot::write(values, kept.directory.subject(), version, last, &bytes).await {
        tracing::warn!(company = %kept.directory.company, %error, "cannot write the snapshot of a directory");
    }
}
