//! Frames of `waybill.v1`. They are JSON text, and the member `t` names their type.

use serde::{Deserialize, Serialize, Serializer};
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
        code: Refusal,
    },
    Bye {
        retry_ms: u64,
    },
}

/// Reason for which the server refuses a frame or a subscription. The connection stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
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

impl Refusal {
    /// Returns the error code in the frame.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Lagging => "lagging",
            Self::IdInUse => "id_in_use",
            Self::TooManyTopics => "too_many_topics",
            Self::FrameInvalid => "frame_invalid",
            Self::TokenInvalid => "token_invalid",
        }
    }
}

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Stage of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The upload accepts bytes, or has not begun.
    Uploading,
    /// All bytes are stored, and the worker verifies the digest.
    Verifying,
    /// The upload has ended, successfully or not.
    Ended,
}

/// Progress of a running upload. All values are absolute, so newer progress replaces older progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProgressFacts {
    pub(crate) upload_id: UploadId,
    pub(crate) stage: Stage,
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
            stage: Stage::Uploading,
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

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn text(frame: &ServerFrame) -> String {
        serde_json::to_string(frame).unwrap()
    }

    #[test]
    fn refusals_have_the_codes_of_the_contract() {
        let codes = [
            (Refusal::NotFound, "not_found"),
            (Refusal::Unavailable, "unavailable"),
            (Refusal::Lagging, "lagging"),
            (Refusal::IdInUse, "id_in_use"),
            (Refusal::TooManyTopics, "too_many_topics"),
            (Refusal::FrameInvalid, "frame_invalid"),
            (Refusal::TokenInvalid, "token_invalid"),
        ];
        for (refusal, code) in codes {
            let frame = text(&ServerFrame::Err { id: Some(1), code: refusal });
            assert_eq!(frame, format!(r#"{{"t":"err","id":1,"code":"{code}"}}"#));
        }
        let frame = text(&ServerFrame::Err { id: None, code: Refusal::FrameInvalid });
        assert_eq!(frame, r#"{"t":"err","code":"frame_invalid"}"#);
    }

    #[test]
    fn progress_has_the_members_of_the_contract() {
        let upload_id = UploadId(Uuid::nil());
        for (stage, name) in [(Stage::Uploading, "uploading"), (Stage::Verifying, "verifying"), (Stage::Ended, "ended")]
        {
            let progress = ProgressFacts { stage, ..ProgressFacts::of_a_hundred(upload_id, 7) };
            let frame = ServerFrame::Prog { id: 1, topic: Topic::Upload(upload_id).to_string(), seq: 2, progress };
            let members = [
                r#"{"t":"prog","id":1,"topic":"upload:00000000-0000-0000-0000-000000000000","seq":2"#,
                r#""upload_id":"00000000-0000-0000-0000-000000000000""#,
                &format!(r#""stage":"{name}""#),
                r#""bytes_uploaded":7,"total_bytes":100,"progress_percentage":0,"upload_speed_bytes_per_s":0"#,
                r#""estimated_time_remaining_s":null,"current_chunk":0,"total_chunks":1}"#,
            ];
            assert_eq!(text(&frame), members.join(","));
        }
    }
}
