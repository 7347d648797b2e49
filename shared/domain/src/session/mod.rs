//! An upload session: a group of uploads that a user sees as one transfer.

mod aggregate;

pub use aggregate::SessionAggregate;

use crate::Refusal;
use crate::limits::SESSION_LIFETIME_MS;
use serde::{Deserialize, Serialize};
use waybill_schema::events::{SessionCancelled, SessionClosed, SessionEvent, SessionOpened};
use waybill_schema::{Timestamp, UserId};

/// Phase of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The session does not exist.
    #[default]
    Absent,
    /// The session accepts files.
    Open,
    /// The session accepts no more files.
    Closed,
    /// The session was cancelled.
    Cancelled,
}

/// Session, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The phase.
    pub phase: Phase,
    /// The user that opened the session.
    pub user_id: Option<UserId>,
    /// Name that the user gave to the session.
    pub session_name: Option<String>,
    /// Time at which the session was opened.
    pub opened_at: Timestamp,
}

/// Command to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the session.
    Open(SessionOpened),
    /// Accept no more files.
    Close,
    /// Cancel the session and its open uploads.
    Cancel,
}

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &SessionEvent, time: Timestamp) {
    match event {
        SessionEvent::SessionOpened(opened) => {
            *state = State {
                phase: Phase::Open,
                user_id: Some(opened.user_id),
                session_name: opened.session_name.clone(),
                opened_at: time,
            };
        }
        SessionEvent::SessionClosed(_) => state.phase = Phase::Closed,
        SessionEvent::SessionCancelled(_) => state.phase = Phase::Cancelled,
    }
}

/// Decides on a command. Returns no event if the command was carried out before.
///
/// ```
/// use uuid::Uuid;
/// use waybill_domain::Refusal;
/// use waybill_domain::session::{Command, State, decide, evolve};
/// use waybill_schema::events::SessionOpened;
/// use waybill_schema::{Timestamp, UserId};
///
/// let mut state = State::default();
/// assert_eq!(decide(&state, Command::Close), Err(Refusal::NotFound { what: "session" }));
///
/// let open = Command::Open(SessionOpened { user_id: UserId(Uuid::from_u128(1)), session_name: None });
/// let event = decide(&state, open.clone())?.ok_or("a new session must be opened")?;
/// evolve(&mut state, &event, Timestamp(1_700_000_000_000));
///
/// // A repeated command appends nothing.
/// assert_eq!(decide(&state, open)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<SessionEvent>, Refusal> {
    match (state.phase, command) {
        (Phase::Absent, Command::Open(opened)) => Ok(Some(opened.into())),
        (Phase::Absent, _) => Err(Refusal::NotFound { what: "session" }),
        (_, Command::Open(opened)) if state.user_id == Some(opened.user_id) => Ok(None),
        (_, Command::Open(_)) => Err(Refusal::IdTaken { what: "session" }),
        (Phase::Open, Command::Close) => Ok(Some(SessionClosed {}.into())),
        (Phase::Closed, Command::Close) | (Phase::Cancelled, Command::Cancel) => Ok(None),
        (Phase::Cancelled, Command::Close) => Err(Refusal::SessionEnded { status: "cancelled" }),
        (Phase::Open | Phase::Closed, Command::Cancel) => Ok(Some(SessionCancelled {}.into())),
    }
}

/// Checks whether `user` may add a file.
///
/// # Errors
/// [`Refusal::NotFound`] if the session does not belong to the user, [`Refusal::SessionEnded`] if it accepts no more
/// files.
pub fn check_join(state: &State, user: UserId, now: Timestamp) -> Result<(), Refusal> {
    if state.user_id != Some(user) {
        return Err(Refusal::NotFound { what: "session" });
    }
    match state.phase {
        Phase::Absent => Err(Refusal::NotFound { what: "session" }),
        Phase::Closed => Err(Refusal::SessionEnded { status: "closed" }),
        Phase::Cancelled => Err(Refusal::SessionEnded { status: "cancelled" }),
        Phase::Open if now > state.opened_at.plus_ms(SESSION_LIFETIME_MS) => {
            Err(Refusal::SessionEnded { status: "expired" })
        }
        Phase::Open => Ok(()),
    }
}
