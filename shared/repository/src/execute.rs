//! Execution of a command: decide, append, and repeat after a conflict.

use crate::loaded::{Appended, Loaded, fold_fact, fold_new};
use crate::turn::Turn;
use rand::Rng;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_domain::{Aggregate, Refusal};
use waybill_event_log::{AppendError, EventLog, Expect, NewEvent, ReadError, append};
use waybill_schema::events::UploadEvent;
use waybill_schema::{Actor, Causation, Envelope, Event, Position, Routing, Subject, Timestamp};

/// Time for which a command is retried after conflicts.
const PATIENCE: Duration = Duration::from_secs(8);

/// Context of a command: the values for the envelopes of its events.
#[derive(Clone, Debug)]
pub struct Context {
    /// The actor.
    pub actor: Actor,
    /// The request or event that led to the command.
    pub causation: Causation,
    /// Address of the client, if there is one.
    pub address: Option<IpAddr>,
    /// Clock, which is read once for each event before it is appended.
    pub clock: fn() -> Timestamp,
}

impl Context {
    /// Returns the envelope of an event.
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

/// Result of a command.
#[derive(Clone, Debug)]
pub struct Done {
    /// The appended event. `None` if the command was carried out before.
    pub event: Option<Event>,
    /// A position up to which the log reflects the command.
    pub position: Position,
}

/// Reason why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The event cannot be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Implements [`crate::execute`].
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
            // The first conflict may be with a command of this process: wait for a turn. Later conflicts are with other
            // processes.
            Err(AppendError::Conflict) if turn.is_none() => {
                turn = Some(wait(until, Turn::wait(aggregate.subject())).await?);
            }
            // Each other process has only one competing command. Long pauses would let it win repeatedly.
            Err(AppendError::Conflict) if Instant::now() < until => pause(attempt.min(2)).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the routing of the last event on a subject.
async fn routing_like(log: &dyn EventLog, subject: Subject) -> Result<Routing, ReadError> {
    let last = log.last(subject).await?;
    Ok(last.and_then(|stored| stored.event.ok()).map(|recorded| recorded.envelope.routing).unwrap_or_default())
}

/// Waits for a turn at most until `until`, because earlier commands may hang while the log does not answer.
async fn wait<T>(until: Instant, turn: impl Future<Output = T>) -> Result<T, AppendError> {
    let waited = tokio::time::timeout_at(until.into(), turn).await;
    waited.map_err(|_| AppendError::Unavailable("earlier commands are still running".to_owned()))
}

/// Returns `true` if an event records stored bytes. Such events have a separate subject, so that they do not conflict
/// with decisions.
fn is_fact(event: &Event) -> bool {
    matches!(event, Event::Upload(UploadEvent::ChunkUploaded(_) | UploadEvent::PartAssembled(_)))
}

/// Waits for a random time with a growing maximum, so that conflicting commands do not conflict again.
pub(crate) async fn pause(attempt: u32) {
    let bound_ms = 2_u64 << attempt.min(7);
    let pause_ms = rand::rng().random_range(0..=bound_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
