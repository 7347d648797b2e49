//! Conversion of messages of the streams, and of errors of reads.

use crate::{ReadError, Stored};
use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use waybill_schema::{Position, Recorded};

/// Converts the answer to a request for a single message.
pub(super) fn one(
    partition: u32,
    found: Result<StreamMessage, async_nats::error::Error<RawMessageErrorKind>>,
) -> Result<Option<Stored>, ReadError> {
    match found {
        Ok(message) => {
            let position = Position { partition, seq: message.sequence };
            Ok(Some(stored(position, &message.subject, Some(&message.headers), &message.payload)))
        }
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

/// Converts a message of a stream.
pub(super) fn stored(position: Position, subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> Stored {
    // Nearly all headers are needed. Searching a short list is faster than hashing each name.
    let headers: Vec<(&str, &str)> = headers
        .into_iter()
        .flat_map(HeaderMap::iter)
        .filter_map(|(name, values)| Some((name.as_ref(), values.first()?.as_str())))
        .collect();
    let header = |name: &'static str| headers.iter().find(|(of, _)| *of == name).map(|(_, value)| *value);
    Stored {
        position,
        message_id: header("Nats-Msg-Id").map(str::to_owned),
        subject: subject.to_owned(),
        previous: header("Nats-Expected-Last-Subject-Sequence").and_then(|seq| seq.parse().ok()),
        event: Recorded::decode(position, subject, header, body),
    }
}

/// Converts an error of a read.
pub(super) fn unavailable(error: impl std::fmt::Display) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
