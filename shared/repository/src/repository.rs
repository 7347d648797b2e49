//! [`Repository`]: the aggregates of an event log.

use crate::execute::{Context, Done, ExecuteError};
use crate::loaded::Loaded;
use crate::memory::Memory;
use crate::on_log::{Execute, OnLog};
use crate::quota::{Held, Quotas};
use crate::sources::Sources;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use waybill_domain::content::ContentAggregate;
use waybill_domain::quota;
use waybill_domain::upload::{self, LifecycleAggregate, UploadAggregate};
use waybill_event_log::{AppendError, EventLog, ReadError};
use waybill_schema::{CompanyId, FileId};

/// The aggregates of an event log. Loads them and executes commands on them. The roles of a process share one
/// repository, because it keeps the quotas of companies and the states of often changed aggregates in memory.
pub struct Repository(Sources);

impl Repository {
    /// Creates the repository of a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self(Sources { log, quotas: Quotas::default(), memory: Memory::default() })
    }

    /// Returns the log.
    pub fn log(&self) -> &dyn EventLog {
        self.0.log()
    }

    /// Loads an aggregate, decides on a command, and appends the resulting event. Repeats this after a conflict.
    ///
    /// # Errors
    /// [`ExecuteError`] if the command is refused or the log fails.
    pub fn execute<'a, A: Execute>(
        &'a self,
        aggregate: &'a A,
        command: A::Command,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
        aggregate.execute(&self.0, command, context)
    }

    /// Executes a command like [`Self::execute`], but begins with the known state `loaded`. Afterwards `loaded` contains
    /// the new state.
    ///
    /// A recently loaded state is used without reading the log again. If another command was faster, the append fails
    /// with a conflict. A decision without an event is repeated on the newest state.
    ///
    /// # Errors
    /// [`ExecuteError`] if the command is refused or the log fails.
    pub fn execute_from<'a, A: OnLog>(
        &'a self,
        aggregate: &'a A,
        loaded: &'a mut Loaded<A::State>,
        command: A::Command,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
        aggregate.execute_from(&self.0, loaded, command, context)
    }

    /// Reads and folds all events of an aggregate. The reads go to the leaders of the streams and are therefore up to
    /// date.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub fn load<'a, A: OnLog>(&'a self, aggregate: &'a A) -> BoxFuture<'a, Result<Loaded<A::State>, ReadError>> {
        aggregate.load(&self.0)
    }

    /// Returns the key of the object of a file: that of the content to which the file refers, or `own`, the one under which it
    /// was verified.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn key_of_file<'a>(
        &'a self,
        content: &'a ContentAggregate,
        file: FileId,
        own: &'a str,
    ) -> BoxFuture<'a, Result<String, ReadError>> {
        Box::pin(async move {
            let state = self.load(content).await?.state;
            let object = state.object.filter(|_| state.references.contains(&file));
            Ok(object.map_or_else(|| own.to_owned(), |object| object.storage_key))
        })
    }

    /// Folds the new events. If the stream was restored or replaced, all events are folded again.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub fn refresh<'a, A: OnLog>(
        &'a self,
        aggregate: &'a A,
        loaded: &'a mut Loaded<A::State>,
    ) -> BoxFuture<'a, Result<(), ReadError>> {
        aggregate.refresh(&self.0, loaded)
    }

    /// Loads an upload for reading. The events of the chunks of a verified upload are not read, because all of its
    /// bytes are stored.
    ///
    /// # Errors
    /// [`ReadError`] if the log cannot be read.
    pub fn look<'a>(
        &'a self,
        aggregate: &'a UploadAggregate,
    ) -> BoxFuture<'a, Result<Loaded<upload::State>, ReadError>> {
        Box::pin(async move {
            let mut loaded = self.load(&LifecycleAggregate(*aggregate)).await?;
            if !matches!(loaded.state.phase, upload::Phase::Absent | upload::Phase::Verified { .. }) {
                // Begin again, because all events must be folded in the order of the log.
                loaded = self.load(aggregate).await?;
            }
            Ok(loaded)
        })
    }

    /// Returns the newest state of the quota of a company.
    ///
    /// # Errors
    /// [`ExecuteError`] if earlier changes do not finish in time or the log cannot be read.
    pub fn quota(&self, company: CompanyId) -> BoxFuture<'_, Result<quota::State, ExecuteError>> {
        Box::pin(async move {
            let mut held = self.hold_quota(company).await?;
            Ok(held.look().await?.clone())
        })
    }

    /// Applies `look` to the current state of a quota, which can be large.
    ///
    /// # Errors
    /// The errors of [`Self::quota`].
    pub fn look_at_quota<'a, T: Send + 'a>(
        &'a self,
        company: CompanyId,
        look: impl FnOnce(&quota::State) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, ExecuteError>> {
        Box::pin(async move {
            let mut held = self.hold_quota(company).await?;
            Ok(look(held.look().await?))
        })
    }

    /// Waits for the right to change the quota of a company, for commands that need more than [`Self::execute`].
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if earlier changes do not finish in time.
    pub fn hold_quota(&self, company: CompanyId) -> BoxFuture<'_, Result<Held<'_>, AppendError>> {
        Box::pin(self.0.quotas.hold(self.log(), company))
    }
}
