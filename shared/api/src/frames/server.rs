//! Frames to the client.

use crate::Extensible;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use utoipa::ToSchema;
use waybill_schema::UploadId;

/// Frame to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerFrame {
    /// First frame of a connection.
    Hello {
        /// Id of the connection.
        conn: String,
        /// Time between two pings of the server in seconds.
        heartbeat_s: u64,
    },
    /// State of a topic. It begins a subscription.
    Snap {
        /// Number of the subscription.
        id: u64,
        /// Topic of the subscription.
        topic: String,
        /// Epoch in which sequences grow: an opaque value.
        epoch: String,
        /// Sequence of the last event that the state contains.
        seq: u64,
        /// State of the topic. Its members depend on the kind of topic.
        state: Value,
    },
    /// A change. The server never skips one.
    Ev {
        /// Number of the subscription.
        id: u64,
        /// Topic of the subscription.
        topic: String,
        /// Sequence of the event.
        seq: u64,
        /// Sequence of the previous `snap` or `ev` of the subscription.
        prev_seq: u64,
        /// Name of the event, for example `FileVerified`.
        #[schema(value_type = String)]
        kind: Cow<'static, str>,
        /// Ids and changed values, which depend on the event.
        #[serde(flatten)]
        #[schema(value_type = HashMap<String, Value>)]
        facts: Map<String, Value>,
    },
    /// Progress of an upload. The newest frame replaces older ones.
    Prog {
        /// Number of the subscription.
        id: u64,
        /// Topic of the subscription.
        topic: String,
        /// Sequence of the last event that the progress contains.
        seq: u64,
        /// The progress.
        #[serde(flatten)]
        progress: ProgressFacts,
    },
    /// The server cannot resume a subscription. A new `snap` follows.
    Reset {
        /// Number of the subscription.
        id: u64,
    },
    /// The server refuses a frame or a subscription. The connection stays open.
    Err {
        /// Number of the subscription, if the error concerns one.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Reason.
        #[schema(value_type = Refusal)]
        code: Extensible<Refusal>,
    },
    /// The server stops.
    Bye {
        /// Time after which the client should connect again in milliseconds.
        retry_ms: u64,
    },
    /// Frame of a newer server. Clients ignore it; servers cannot send it.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// Reason for which the server refuses a frame or a subscription. The connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The topic does not exist, or the client may not watch it.
    NotFound,
    /// The log or the read model cannot be read at the moment.
    Unavailable,
    /// The read model does not reach the position of the subscription in time.
    Lagging,
    /// Another subscription of the connection has the id.
    IdInUse,
    /// The connection watches as many topics as it may.
    TooManyTopics,
    /// The frame cannot be parsed.
    FrameInvalid,
    /// The new token is invalid, or of another user or company.
    TokenInvalid,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Stage of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The upload accepts bytes, or has not begun.
    Uploading,
    /// All bytes are stored, and the worker verifies the digest.
    Verifying,
    /// The upload has ended, successfully or not.
    Ended,
}

/// Progress of a running upload. All values are absolute, so newer progress replaces older progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressFacts {
    /// Id of the upload.
    #[schema(value_type = Uuid)]
    pub upload_id: UploadId,
    /// Stage of the upload.
    #[schema(value_type = Stage)]
    pub stage: Extensible<Stage>,
    /// Number of stored bytes.
    pub bytes_uploaded: u64,
    /// Size of the file in bytes.
    pub total_bytes: u64,
    /// Percentage from 0 to 100, rounded down.
    pub progress_percentage: u8,
    /// Bytes per second.
    pub upload_speed_bytes_per_s: u64,
    /// Estimated time until all bytes are stored in seconds; `null` if it is unknown.
    pub estimated_time_remaining_s: Option<u64>,
    /// Number of chunks that contain stored bytes.
    pub current_chunk: u32,
    /// Number of chunks of the file.
    pub total_chunks: u32,
}
