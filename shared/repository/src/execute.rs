//! Execution of a command on any aggregate: decide, append, and repeat after a conflict. The aggregates differ in where
//! their state is kept, which [`Attempt`] hides.

use rand::Rng;
use std::future::{self, Future};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::Refusal;
use waybill_event_log::{AppendError, ReadError};
use waybill_schema::{Actor, Causation, Envelope, Event, Position, Routing, Timestamp};

/// Time for which a command waits for earlier commands of this process, and is retried after conflicts.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

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

/// Knowledge about a state when the execution of a command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// There may be newer events. They are read before the decision.
    Old,
    /// There may be newer events, but only a few. A decision that leads to an event needs no reads, because the append
    /// detects newer events. Other decisions, for example refusals, are repeated on the newest state.
    Recent,
    /// All events.
    Newest,
}

/// One command and the state on which it is decided.
pub(crate) trait Attempt: Send {
    /// Event of the aggregate.
    type Event: Send;

    /// Reads and folds the new events.
    fn refresh(&mut self) -> impl Future<Output = Result<(), ReadError>> + Send;

    /// Decides on the state.
    fn decide(&mut self) -> impl Future<Output = Result<Option<Self::Event>, ExecuteError>> + Send;

    /// Appends the event, with the state of the last decision as its expectation, and folds it.
    fn append(&mut self, event: Self::Event) -> impl Future<Output = Result<Done, ExecuteError>> + Send;

    /// Returns a position up to which the state contains all events.
    fn position(&self) -> Position;

    /// Waits at most until `until` for a turn among the commands of this process. Returns `false` if the command
    /// already has its turn.
    fn wait_for_turn(&mut self, _until: Instant) -> impl Future<Output = Result<bool, AppendError>> + Send {
        future::ready(Ok(false))
    }
}

/// Decides and appends. Repeats this on the newest state after a conflict, until `until` has passed.
pub(crate) async fn execute(attempt: &mut impl Attempt, known: Known, until: Instant) -> Result<Done, ExecuteError> {
    let (mut known, mut attempts) = (known, 0);
    loop {
        attempts += 1;
        if known == Known::Old {
            attempt.refresh().await?;
            known = Known::Newest;
        }
        let mut decision = attempt.decide().await;
        if known == Known::Recent && !matches!(decision, Ok(Some(_))) {
            attempt.refresh().await?;
            decision = attempt.decide().await;
        }
        let Some(event) = decision? else { return Ok(Done { event: None, position: attempt.position() }) };
        match attempt.append(event).await {
            Err(ExecuteError::Append(AppendError::Conflict)) => {}
            done => return done,
        }
        known = Known::Old;
        // The first conflict may be with a command of this process: wait for a turn. Later conflicts are with other
        // processes.
        if attempt.wait_for_turn(until).await? {
            continue;
        }
        if Instant::now() >= until {
            return Err(AppendError::Conflict.into());
        }
        // Each other process has only one competing command. Long pauses would let it win repeatedly.
        pause(attempts.min(2)).await;
    }
}

/// Waits for a turn at most until `until`, because earlier commands may hang while the log does not answer.
pub(crate) async fn wait<T>(until: Instant, turn: impl Future<Output = T>) -> Result<T, AppendError> {
    let waited = tokio::time::timeout_at(until, turn).await;
    waited.map_err(|_| AppendError::Unavailable("earlier commands are still running".to_owned()))
}

/// Waits for a random time with a growing maximum, so that conflicting commands do not conflict again.
async fn pause(attempt: u32) {
    let bound_ms = 2_u64 << attempt.min(7);
    let pause_ms = rand::rng().random_range(0..=bound_ms);
    tokio::time::sleep(Duration::from_millis(pause_ms)).await;
}
