//! Errors of the event log.

use waybill_schema::{DecodeError, Position};

/// Reason why an event was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another event was appended first. The caller must load and decide again.
    #[error("cannot append the event: another event came first")]
    Conflict,
    /// The log did not answer. The event may be stored.
    #[error("no answer to appending the event, which may be stored: {0}")]
    Unknown(String),
    /// The log refused the event or is unavailable. The event was not stored.
    #[error("the event log does not accept the event: {0}")]
    Unavailable(String),
    /// The event cannot be encoded.
    #[error("cannot encode the event: {0}")]
    Encode(String),
}

/// Reason why events cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log does not answer.
    #[error("the event log cannot be read: {0}")]
    Unavailable(String),
    /// The stream is not the one that was read before: it was restored from a copy or created again.
    #[error("the event {seq} of {subject} is missing: the stream was restored or replaced")]
    Diverged {
        /// The subject.
        subject: String,
        /// The sequence of the missing event.
        seq: u64,
    },
    /// An event of the aggregate cannot be decoded, so that no command on the aggregate can be decided.
    #[error("cannot decode the event at {position}: {source}")]
    Undecodable {
        /// The position of the event.
        position: Position,
        /// The reason.
        source: DecodeError,
    },
}
