//! Loading and execution for each aggregate, compiled in this crate. This code is generic and long. Without this trait,
//! every crate that calls it would compile it again for each aggregate.

use crate::execute::{self, Attempt, Context, Done, ExecuteError, Known, PATIENCE};
use crate::loaded::{Appended, Loaded, fold_fact, fold_new, remember};
use crate::sources::Sources;
use crate::turn::Turn;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use waybill_domain::Aggregate;
use waybill_domain::content::ContentAggregate;
use waybill_domain::file::FileAggregate;
use waybill_domain::link::LinkAggregate;
use waybill_domain::quota::{self, QuotaAggregate};
use waybill_domain::session::SessionAggregate;
use waybill_domain::share::ShareAggregate;
use waybill_domain::token::TokenAggregate;
use waybill_domain::upload::{LifecycleAggregate, UploadAggregate};
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append};
use waybill_schema::events::UploadEvent;
use waybill_schema::{Event, Position, Routing, Subject};
use waybill_service_kit::new_id;

/// Aggregate that [`crate::Repository::execute`] accepts.
pub trait Execute: Aggregate {
    /// Implements [`crate::Repository::execute`].
    fn execute<'a>(
        &'a self,
        sources: &'a Sources,
        command: Self::Command,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>>;
}

/// Aggregate that callers load and keep.
pub trait OnLog: Execute {
    /// Implements [`crate::Repository::load`].
    fn load<'a>(&'a self, sources: &'a Sources) -> BoxFuture<'a, Result<Loaded<Self::State>, ReadError>>;

    /// Implements [`crate::Repository::refresh`].
    fn refresh<'a>(
        &'a self,
        sources: &'a Sources,
        loaded: &'a mut Loaded<Self::State>,
    ) -> BoxFuture<'a, Result<(), ReadError>>;

    /// Implements [`crate::Repository::execute_from`].
    fn execute_from<'a>(
        &'a self,
        sources: &'a Sources,
        loaded: &'a mut Loaded<Self::State>,
        command: Self::Command,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>>;
}

macro_rules! on_log {
    ($($aggregate:ident),* $(,)?) => {
        $(
            impl Execute for $aggregate {
                fn execute<'a>(
                    &'a self,
                    sources: &'a Sources,
                    command: Self::Command,
                    context: &'a Context,
                ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
                    Box::pin(async move {
                        let mut loaded = Loaded::default();
                        decide_and_append(sources, self, &mut loaded, command, context).await
                    })
                }
            }

            impl OnLog for $aggregate {
                fn load<'a>(&'a self, sources: &'a Sources) -> BoxFuture<'a, Result<Loaded<Self::State>, ReadError>> {
                    Box::pin(async move {
                        let mut loaded = Loaded::default();
                        fold_new(sources, self, &mut loaded).await?;
                        Ok(loaded)
                    })
                }

                fn refresh<'a>(
                    &'a self,
                    sources: &'a Sources,
                    loaded: &'a mut Loaded<Self::State>,
                ) -> BoxFuture<'a, Result<(), ReadError>> {
                    Box::pin(fold_new(sources, self, loaded))
                }

                fn execute_from<'a>(
                    &'a self,
                    sources: &'a Sources,
                    loaded: &'a mut Loaded<Self::State>,
                    command: Self::Command,
                    context: &'a Context,
                ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
                    Box::pin(decide_and_append(sources, self, loaded, command, context))
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
    LinkAggregate,
}

impl Execute for QuotaAggregate {
    fn execute<'a>(
        &'a self,
        sources: &'a Sources,
        mut command: quota::Command,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Done, ExecuteError>> {
        Box::pin(
            async move { sources.quotas.hold(sources.log(), self.company).await?.execute(&mut command, context).await },
        )
    }
}

async fn decide_and_append<A: Aggregate>(
    sources: &Sources,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
    command: A::Command,
    context: &Context,
) -> Result<Done, ExecuteError> {
    let until = Instant::now() + PATIENCE;
    let turn = execute::wait(until, Turn::wait_if_met(aggregate.subject())).await?;
    loaded.is_of(sources.log());
    let known = if loaded.is_recent() { Known::Recent } else { Known::Old };
    let mut change = Change { sources, aggregate, loaded, context, command, turn };
    execute::execute(&mut change, known, until).await
}

/// Command on an aggregate whose state the caller has loaded.
struct Change<'a, A: Aggregate> {
    sources: &'a Sources,
    aggregate: &'a A,
    loaded: &'a mut Loaded<A::State>,
    context: &'a Context,
    command: A::Command,
    /// `None` until the first conflict, unless other commands had conflicts before.
    turn: Option<Turn>,
}

impl<A: Aggregate> Attempt for Change<'_, A> {
    type Event = A::Event;

    async fn refresh(&mut self) -> Result<(), ReadError> {
        fold_new(self.sources, self.aggregate, self.loaded).await
    }

    async fn decide(&mut self) -> Result<Option<A::Event>, ExecuteError> {
        Ok(A::decide(&self.loaded.state, self.command.clone())?)
    }

    async fn append(&mut self, event: A::Event) -> Result<Done, ExecuteError> {
        let Self { sources, aggregate, loaded, context, .. } = self;
        let log = sources.log();
        let routing = match aggregate.routed_like() {
            Some(subject) => routing_like(log, subject).await?,
            None => aggregate.routing(&loaded.state, &event),
        };
        let envelope = context.envelope(routing);
        let event: Event = event.into();
        let facts = aggregate.facts().filter(|_| is_fact(&event));
        let (subject, last_seq) = match facts {
            Some(facts) => (facts, loaded.facts_seq),
            None => (aggregate.subject(), loaded.last_seq),
        };
        let message_id = new_id().simple().to_string();
        let expect = Expect::LastSeq(last_seq);
        let new = NewEvent { subject, envelope, event, expect, message_id: Some(message_id.clone()) };
        let (event, time) = (new.event.clone(), new.envelope.time);
        let position = append(log, new).await?;
        let appended = Appended { event, time, seq: position.seq, message_id };
        match facts {
            Some(_) => fold_fact(sources, *aggregate, loaded, &appended).await?,
            None => {
                loaded.decided(*aggregate, &appended);
                remember(&sources.memory, *aggregate, loaded);
            }
        }
        Ok(Done { event: Some(appended.event), position })
    }

    fn position(&self) -> Position {
        Position {
            partition: self.sources.log().partitions().of(self.aggregate.subject().company),
            seq: self.loaded.read_to,
        }
    }

    async fn wait_for_turn(&mut self, until: Instant) -> Result<bool, AppendError> {
        if self.turn.is_some() {
            return Ok(false);
        }
        self.turn = Some(execute::wait(until, Turn::wait(self.aggregate.subject())).await?);
        Ok(true)
    }
}

/// Returns the routing of the last event on a subject.
async fn routing_like(log: &dyn EventLog, subject: Subject) -> Result<Routing, ReadError> {
    let last = log.last(subject).await?;
    Ok(last.and_then(|stored| stored.event.ok()).map(|recorded| recorded.envelope.routing).unwrap_or_default())
}

/// Returns `true` if an event records stored bytes. Such events have a separate subject, so that they do not conflict
/// with decisions.
fn is_fact(event: &Event) -> bool {
    matches!(event, Event::Upload(UploadEvent::ChunkUploaded(_) | UploadEvent::PartAssembled(_)))
}
