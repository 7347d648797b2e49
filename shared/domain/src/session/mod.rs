//! An upload session: several uploads that belong together.

use crate::Refusal;
use crate::limits::SESSION_LIFETIME_MS;
use serde::{Deserialize, Serialize};
use waybill_schema::events::{SessionCancelledV1, SessionClosedV1, SessionEvent, SessionOpenedV1};
use waybill_schema::{Timestamp, UserId};

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is known of it.
    #[default]
    Absent,
    /// It takes files.
    Open,
    /// It takes no more files.
    Closed,
    /// It was cancelled.
    Cancelled,
}

/// A session, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// Whose it is.
    pub user_id: Option<UserId>,
    /// What the user calls it.
    pub session_name: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// A command to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin.
    Open(SessionOpenedV1),
    /// Take no more files.
    Close,
    /// Cancel it and its running uploads.
    Cancel,
}

/// Folds one event, recorded at `time`.
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

/// Decides; no event means that the command was carried out before.
///
/// # Errors
/// The [`Refusal`] that the client is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<SessionEvent>, Refusal> {
    match (state.phase, command) {
        (Phase::Absent, Command::Open(opened)) => Ok(Some(opened.into())),
        (Phase::Absent, _) => Err(Refusal::NotFound { what: "session" }),
        (_, Command::Open(opened)) if state.user_id == Some(opened.user_id) => Ok(None),
        (_, Command::Open(_)) => Err(Refusal::IdTaken { what: "session" }),
        (Phase::Open, Command::Close) => Ok(Some(SessionClosedV1 {}.into())),
        (Phase::Closed, Command::Close) | (Phase::Cancelled, Command::Cancel) => Ok(None),
        (Phase::Cancelled, Command::Close) => Err(Refusal::SessionEnded { status: "cancelled" }),
        (Phase::Open | Phase::Closed, Command::Cancel) => Ok(Some(SessionCancelledV1 {}.into())),
    }
}

/// Whether `user` may add a file.
///
/// # Errors
/// [`Refusal::NotFound`] where the session is not the user's, [`Refusal::SessionEnded`] where it takes no more files.
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
