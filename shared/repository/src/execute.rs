//! Carrying out a command.

use crate::loaded::{Appended, fold_fact, fold_new};
use crate::turn::Turn;
use crate::{Aggregate, Loaded, OnLog};
use futures_util::future::BoxFuture;
use rand::Rng;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_domain::Refusal;
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append};
use waybill_schema::events::UploadEvent;
use waybill_schema::{Actor, Causation, Envelope, Event, Position, Routing, Timestamp};

/// How long a command is tried again if other commands come first.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who does something, and why; and the clock that says when.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who.
    pub actor: Actor,
    /// Why.
    pub causation: Causation,
    /// From where, if a client asks.
    pub address: Option<IpAddr>,
    /// When: asked for each event, as it is appended.
    pub clock: fn() -> Timestamp,
}

impl Context {
    /// The envelope of an event that this context leads to.
    pub fn envelope(&self, routing: Routing) -> Envelope {
        Envelope {
            time: (self.clock)(),
            actor: self.actor.clone(),
            causation: self.causation,
            address: self.address,
            routing,
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// The event that was appended; `None` where the command had been carried out before.
    pub event: Option<Event>,
    /// A position that reflects the command.
    pub position: Position,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log does not take the event.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Decides `command` on the aggregate and appends what it leads to. `loaded` holds the outcome afterwards.
///
/// A state of a moment ago is decided on as it is: the append is refused where somebody was faster, and a decision that
/// leads to no event is taken again on what the log knows then.
///
/// # Errors
/// [`ExecuteError`].
pub fn execute<'a, A: OnLog>(
    log: &'a dyn EventLog,
    aggregate: &'a A,
    loaded: &'a mut Loaded<A::State>,
    context: &'a Context,
    command: A::Command,
) -> BoxFuture<'a, Result<Done, ExecuteError>> {
    aggregate.execute(log, loaded, context, command)
}

/// Does what [`execute`] says.
pub(crate) async fn decide_and_append<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
    context: &Context,
    command: A::Command,
) -> Result<Done, ExecuteError> {
    let partition = log.partitions().of(aggregate.subject().company);
    let until = Instant::now() + PATIENCE;
    let mut turn = wait(until, Turn::wait_if_met(aggregate.subject())).await?;
    loaded.is_of(log);
    let mut refreshed = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        if attempt > 1 || !loaded.is_recent() {
            fold_new(log, aggregate, loaded).await?;
            refreshed = true;
        }
        let mut decision = A::decide(&loaded.state, command.clone());
        if !refreshed && !matches!(decision, Ok(Some(_))) {
            fold_new(log, aggregate, loaded).await?;
            decision = A::decide(&loaded.state, command.clone());
        }
        let Some(event) = decision? else {
            return Ok(Done { event: None, position: Position { partition, seq: loaded.read_to } });
        };
        let envelope = context.envelope(aggregate.routing(&loaded.state, &event));
        let event: Event = event.into();
        let facts = aggregate.facts().filter(|_| is_fact(&event));
        let (subject, last_seq) = match facts {
            Some(facts) => (facts, loaded.facts_seq),
            None => (aggregate.subject(), loaded.last_seq),
        };
        let message_id = Uuid::now_v7().simple().to_string();
        let expect = Expect::LastSeq(last_seq);
        let new = NewEvent { subject, envelope, event, expect, message_id: Some(message_id.clone()) };
        let (event, time) = (new.event.clone(), new.envelope.time);
        match append(log, new).await {
            Ok(position) => {
                let appended = Appended { event, time, seq: position.seq, message_id };
                match facts {
                    Some(_) => fold_fact(log, aggregate, loaded, &appended).await?,
                    None => loaded.decided(aggregate, &appended),
                }
                return Ok(Done { event: Some(appended.event), position });
            }
            // The first time it may have been a command of this process, and after that one of others.
            Err(AppendError::Conflict) if turn.is_none() => {
                turn = Some(wait(until, Turn::wait(aggregate.subject())).await?);
            }
            // Only one command of each other process is in the way: long pauses would let it win again and again.
            Err(AppendError::Conflict) if Instant::now() < until => pause(attempt.min(2)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for a turn, but not for all who are before it while the log does not answer.
async fn wait<T>(until: Instant, turn: impl Future<Output = T>) -> Result<T, AppendError> {
    let waited = tokio::time::timeout_at(until.into(), turn).await;
    waited.map_err(|_| AppendError::Unavailable("those who came before are not done".to_owned()))
}

/// Whether an event says what was stored: those have a subject of their own, so that they do not refuse decisions.
fn is_fact(event: &Event) -> bool {
    matches!(event, Event::Upload(UploadEvent::ChunkUploaded(_) | UploadEvent::PartAssembled(_)))
}

/// A growing pause with jitter, so that those who met do not meet again.
pub(crate) async fn pause(attempt: u32) {
    let bound_ms = 2_u64 << attempt.min(7);
    let pause_ms = rand::rng().random_range(0..=bound_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
