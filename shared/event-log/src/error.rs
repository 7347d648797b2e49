//! What can go wrong between us and the log.

use waybill_schema::{DecodeError, Position};

/// Why an event was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended first: load, decide again.
    #[error("appending an event conflicts with one that came first")]
    Conflict,
    /// No answer came: it may be stored.
    #[error("appending an event got no answer: {0}")]
    Unknown(String),
    /// The log refused or is not there; nothing was stored.
    #[error("the event log does not accept events: {0}")]
    Unavailable(String),
    /// The event cannot be encoded.
    #[error("encoding an event: {0}")]
    Encode(String),
}

/// Why events could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log does not answer.
    #[error("the event log cannot be read: {0}")]
    Unavailable(String),
    /// The stream is not the one that was read before: it was restored from a copy, or made anew.
    #[error("{subject} does not have its event {seq} any more: the stream was restored or replaced")]
    Diverged {
        /// Where.
        subject: String,
        /// The event that was there.
        seq: u64,
    },
    /// An event of the aggregate cannot be read, so the aggregate cannot be decided on.
    #[error("the event at {position} cannot be read: {source}")]
    Undecodable {
        /// Which.
        position: Position,
        /// Why.
        source: DecodeError,
    },
}
