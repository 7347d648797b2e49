//! Loading and execution for each aggregate, compiled in this crate. This code is generic and long. Without this trait,
//! every crate that calls it would compile it again for each aggregate.

use crate::execute::decide_and_append;
use crate::loaded::fold_new;
use crate::{
    Aggregate, ContentAggregate, Context, Done, ExecuteError, FileAggregate, LifecycleAggregate, Loaded,
    SessionAggregate, ShareAggregate, TokenAggregate, UploadAggregate,
};
use futures_util::future::BoxFuture;
use waybill_event_log::{EventLog, ReadError};

/// Aggregate for [`crate::load`], [`crate::refresh`] and [`crate::execute`], which only call these methods.
pub trait OnLog: Aggregate {
    /// Implements [`crate::load`].
    fn load<'a>(&'a self, log: &'a dyn EventLog) -> BoxFuture<'a, Result<Loaded<Self::State>, ReadError>>;

    /// Implements [`crate::refresh`].
    fn refresh<'a>(
        &'a self,
        log: &'a dyn EventLog,
        loaded: &'a mut Loaded<Self::State>,
    ) -> BoxFuture<'a, Result<(), ReadError>>;

    /// Implements [`crate::execute`].
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
