//! Loading and execution for each aggregate, compiled in this crate. This code is generic and long. Without this trait,
//! every crate that calls it would compile it again for each aggregate.

use crate::execute::{Context, Done, ExecuteError, decide_and_append};
use crate::loaded::{Loaded, fold_new};
use futures_util::future::BoxFuture;
use waybill_domain::Aggregate;
use waybill_domain::content::ContentAggregate;
use waybill_domain::file::FileAggregate;
use waybill_domain::session::SessionAggregate;
use waybill_domain::share::ShareAggregate;
use waybill_domain::token::TokenAggregate;
use waybill_domain::upload::{LifecycleAggregate, UploadAggregate};
use waybill_event_log::{EventLog, ReadError};

/// Aggregate for [`load`], [`refresh`] and [`execute`], which only call these methods.
pub trait OnLog: Aggregate {
    /// Implements [`load`].
    fn load<'a>(&'a self, log: &'a dyn EventLog) -> BoxFuture<'a, Result<Loaded<Self::State>, ReadError>>;

    /// Implements [`refresh`].
    fn refresh<'a>(
        &'a self,
        log: &'a dyn EventLog,
        loaded: &'a mut Loaded<Self::State>,
    ) -> BoxFuture<'a, Result<(), ReadError>>;

    /// Implements [`execute`].
    fn execute<'a>(
        &'a self,
        log: &'a dyn EventLog,
        loaded: &'a mut Loaded<Self::State>,
        context: &'a Context,
        command: Self::Command,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>>;
}

macro_rules! on_log {
    ($($aggregate:ident),* $(,)?) => {
        $(
            impl OnLog for $aggregate {
                fn load<'a>(&'a self, log: &'a dyn EventLog) -> BoxFuture<'a, Result<Loaded<Self::State>, ReadError>> {
                    Box::pin(async move {
                        let mut loaded = Loaded::default();
                        fold_new(log, self, &mut loaded).await?;
                        Ok(loaded)
                    })
                }

                fn refresh<'a>(
                    &'a self,
                    log: &'a dyn EventLog,
                    loaded: &'a mut Loaded<Self::State>,
                ) -> BoxFuture<'a, Result<(), ReadError>> {
                    Box::pin(fold_new(log, self, loaded))
                }

                fn execute<'a>(
                    &'a self,
                    log: &'a dyn EventLog,
                    loaded: &'a mut Loaded<Self::State>,
                    context: &'a Context,
                    command: Self::Command,
                ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
                    Box::pin(decide_and_append(log, self, loaded, context, command))
                }
            }
        )*
    };
}

on_log! {
    UploadAggregate,
    LifecycleAggregate,
    SessionAggregate,
    FileAggregate,
    ShareAggregate,
    ContentAggregate,
    TokenAggregate,
}

/// Reads and folds all events of an aggregate. The reads go to the leaders of the streams and are therefore up to date.
///
/// # Errors
/// [`ReadError`] if the log cannot be read.
pub fn load<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
) -> BoxFuture<'a, Result<Loaded<A::State>, ReadError>> {
    aggregate.load(log)
}

/// Folds the new events. If the stream was restored or replaced, all events are folded again.
///
/// # Errors
/// [`ReadError`] if the log cannot be read.
pub fn refresh<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
    loaded: &'a mut Loaded<A::State>,
) -> BoxFuture<'a, Result<(), ReadError>> {
    aggregate.refresh(log, loaded)
}

/// Decides `command` on the aggregate and appends the resulting event. Afterwards `loaded` contains the new state.
///
/// A recently loaded state is used without reading the log again. If another command was faster, the append fails with
/// a conflict. A decision without an event is repeated on the newest state.
///
/// # Errors
/// [`ExecuteError`] if the command is refused or the log fails.
pub fn execute<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
    loaded: &'a mut Loaded<A::State>,
    context: &'a Context,
    command: A::Command,
) -> BoxFuture<'a, Result<Done, ExecuteError>> {
    aggregate.execute(log, loaded, context, command)
}
