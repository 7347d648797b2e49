//! Events of an upload session. Subject: `session.{id}`.

use crate::UserId;
use serde::{Deserialize, Serialize};

/// A session was opened. Uploads can join it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpenedV1 {
    /// The user that opened the session.
    pub user_id: UserId,
    /// Name that the user gave to the session.
    pub session_name: Option<String>,
}

/// The session was closed: no more uploads can join. The session ends after all of its uploads have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosedV1 {}

/// The session and all of its incomplete uploads were cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCancelledV1 {}

aggregate_events! {
    /// Events of an upload session.
    SessionEvent of Session {
        SessionOpened, 1 => SessionOpenedV1;
        SessionClosed, 1 => SessionClosedV1;
        SessionCancelled, 1 => SessionCancelledV1;
    }
}
