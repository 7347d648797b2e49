//! Frames of `waybill.v1`. They are JSON text, and the member `t` names their type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;
use waybill_schema::{ChatroomId, CompanyId, SessionId, ThreadId, UploadId};

/// Name of the WebSocket subprotocol.
pub(crate) const SUBPROTOCOL: &str = "waybill.v1";

/// Topic to which a client can subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Upload(UploadId),
    Session(SessionId),
    Company(CompanyId),
    Chatroom(ChatroomId),
    Thread(ThreadId),
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(id) => write!(f, "upload:{id}"),
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Company(id) => write!(f, "company:{id}"),
            Self::Chatroom(id) => write!(f, "chatroom:{id}"),
            Self::Thread(id) => write!(f, "thread:{id}"),
        }
    }
}

impl FromStr for Topic {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        fn id<T: FromStr>(text: &str) -> Result<T, ()> {
            text.parse().map_err(drop)
        }
        let (kind, rest) = text.split_once(':').ok_or(())?;
        match kind {
            "upload" => id(rest).map(Self::Upload),
            "session" => id(rest).map(Self::Session),
            "company" => id(rest).map(Self::Company),
            "chatroom" => id(rest).map(Self::Chatroom),
            "thread" => id(rest).map(Self::Thread),
            _ => Err(()),
        }
    }
}

/// Frame from the client.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum ClientFrame {
    Sub {
        id: u64,
        topic: String,
        #[serde(default)]
        from: Option<From>,
    },
    Unsub {
        id: u64,
    },
    Auth {
        token: String,
    },
    Pong,
}

/// Position from which a client wants to resume.
#[derive(Clone, Debug, Deserialize)]
#[expect(dead_code, reason = "read by the resumption ring; until then every resumption is a reset")]
pub(crate) struct From {
    epoch: String,
    seq: u64,
}

/// Frame to the client.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub(crate) enum ServerFrame {
    Hello {
        conn: String,
        heartbeat_s: u64,
    },
    Snap {
        id: u64,
        topic: String,
        epoch: String,
        seq: u64,
        state: Value,
    },
    Ev {
        id: u64,
        topic: String,
        seq: u64,
        prev_seq: u64,
        kind: &'static str,
        #[serde(flatten)]
        facts: Map<String, Value>,
    },
    Prog {
        id: u64,
        topic: String,
        seq: u64,
        #[serde(flatten)]
        progress: ProgressFacts,
    },
    Reset {
        id: u64,
    },
    Err {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        code: &'static str,
    },
    Bye {
        retry_ms: u64,
    },
}

/// Progress of a running upload. All values are absolute, so newer progress replaces older progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProgressFacts {
    pub(crate) upload_id: UploadId,
    pub(crate) stage: &'static str,
    pub(crate) bytes_uploaded: u64,
    pub(crate) total_bytes: u64,
    pub(crate) progress_percentage: u8,
    pub(crate) upload_speed_bytes_per_s: u64,
    pub(crate) estimated_time_remaining_s: Option<u64>,
    pub(crate) current_chunk: u32,
    pub(crate) total_chunks: u32,
}

#[cfg(test)]
impl ProgressFacts {
    /// Returns the progress of an upload of 100 bytes.
    pub(crate) fn of_a_hundred(upload_id: UploadId, bytes_uploaded: u64) -> Self {
        Self {
            upload_id,
            stage: "uploading",
            bytes_uploaded,
            total_bytes: 100,
            progress_percentage: 0,
            upload_speed_bytes_per_s: 0,
            estimated_time_remaining_s: None,
            current_chunk: 0,
            total_chunks: 1,
        }
    }
}

/// Reason for which the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The process is stopping. The client should reconnect.
    Restart,
    /// The token has expired.
    TokenExpired,
    /// The client may not watch its topics any more.
    AccessLost,
    /// The client does not read fast enough.
    TooSlow,
    /// The client sent too many frames, or the user has too many connections.
    TooMany,
    /// The client sent a message that is too big.
    TooBig,
    /// The client has disconnected or closes the connection.
    Gone,
}

impl Close {
    /// Returns the status code of the close frame (RFC 6455 §7.4).
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Restart => 1012,
            Self::TokenExpired => 4001,
            Self::AccessLost => 4003,
            Self::TooSlow => 4008,
            Self::TooMany => 4029,
            Self::TooBig => 1009,
            Self::Gone => 1000,
        }
    }
}
