//! Carrying out a command.

use crate::aggregate::read_up_to;
use crate::turn::Turn;
use crate::{Aggregate, Loaded, refresh};
use rand::Rng;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use waybill_domain::Refusal;
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append};
use waybill_schema::{Actor, Causation, Envelope, Event, Position, Routing, Timestamp, names};

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
pub async fn execute<A: Aggregate>(
    log: &dyn EventLog,
    aggregate: &A,
    loaded: &mut Loaded<A::State>,
    context: &Context,
    command: A::Command,
) -> Result<Done, ExecuteError> {
    let partition = log.partitions().of(aggregate.subject().company);
    let until = Instant::now() + PATIENCE;
    // An aggregate with facts has writers that need not wait for each other.
    let mut turn = match aggregate.facts() {
        None => wait(until, Turn::wait_if_met(aggregate.subject())).await?,
        Some(_) => None,
    };
    let mut refreshed = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        if attempt > 1 || !loaded.is_recent() {
            refresh(log, aggregate, loaded).await?;
            refreshed = true;
        }
        let mut decision = A::decide(&loaded.state, command.clone());
        if !refreshed && !matches!(decision, Ok(Some(_))) {
            refresh(log, aggregate, loaded).await?;
            decision = A::decide(&loaded.state, command.clone());
        }
        let Some(event) = decision? else {
            return Ok(Done { event: None, position: Position { partition, seq: loaded.read_to } });
        };
        let envelope = context.envelope(aggregate.routing(&loaded.state, &event));
        let fact = fact_id(aggregate, &event).zip(aggregate.facts());
        let is_fact = fact.is_some();
        let new = match fact {
            Some((id, facts)) => {
                NewEvent { subject: facts, envelope, event, expect: Expect::Any, message_id: Some(id) }
            }
            None => NewEvent {
                subject: aggregate.subject(),
                envelope,
                event,
                expect: Expect::LastSeq(loaded.last_seq),
                message_id: None,
            },
        };
        let (event, time) = (new.event.clone(), new.envelope.time);
        match append(log, new).await {
            // Others append facts, too: read in the order of the log, so that the state is what everybody folds.
            Ok(position) if is_fact => {
                read_up_to(log, aggregate, loaded, position.seq).await?;
                return Ok(Done { event: Some(event), position });
            }
            Ok(position) => {
                A::evolve(&mut loaded.state, &event, time);
                loaded.last_seq = position.seq;
                // Nothing of the aggregate came in between, or the append had been refused. Where it has facts besides,
                // the next refresh folds the event again with them, which changes nothing.
                if aggregate.facts().is_none() {
                    loaded.read_to = position.seq;
                }
                return Ok(Done { event: Some(event), position });
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

/// The message id of a fact: an event that parallel writers append without waiting for each other.
fn fact_id<A: Aggregate>(aggregate: &A, event: &Event) -> Option<String> {
    let waybill_schema::Aggregate::UploadLifecycle(upload) = aggregate.subject().aggregate else { return None };
    match event {
        Event::ChunkUploaded(chunk) => {
            Some(names::chunk_message_id(upload, chunk.offset, chunk.length, chunk.crc64nvme, &chunk.etag))
        }
        Event::PartAssembled(part) => Some(names::assembled_message_id(upload, part.part_number, &part.etag)),
        _ => None,
    }
}

/// A growing pause with jitter, so that those who met do not meet again.
pub(crate) async fn pause(attempt: u32) {
    let bound_ms = 2_u64 << attempt.min(7);
    let pause_ms = rand::rng().random_range(0..=bound_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
