//! Events of an upload session: `session.{id}`.

use crate::UserId;
use serde::{Deserialize, Serialize};

/// A session began; uploads may join it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpenedV1 {
    /// Whose.
    pub user_id: UserId,
    /// What the user calls it.
    pub session_name: Option<String>,
}

/// No more uploads may join; the session ends when its files have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosedV1 {}

/// The session and every upload in it that is not complete were cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCancelledV1 {}
