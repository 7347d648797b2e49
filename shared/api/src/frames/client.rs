//! Frames from the client.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Frame from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Subscribes to a topic.
    Sub {
        /// Number of the subscription, which the client chooses.
        id: u64,
        /// Topic, such as `upload:` and the id of an upload.
        topic: String,
        /// Position from which the client wants to resume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<ResumeFrom>,
    },
    /// Ends a subscription.
    Unsub {
        /// Number of the subscription.
        id: u64,
    },
    /// Replaces the token before it expires.
    Auth {
        /// New token (a JWT).
        token: String,
    },
    /// Accepted and ignored, because pings of the server are WebSocket pings.
    Pong,
}

/// Position from which a client wants to resume: the last one that it saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResumeFrom {
    /// Epoch of the `snap` frame.
    pub epoch: String,
    /// Sequence of the last frame.
    pub seq: u64,
}
