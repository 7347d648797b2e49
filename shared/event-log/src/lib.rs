//! The event log: append with an expected sequence, read, and subscribe. [`jetstream`] is used in production, and
//! [`memory`] in tests of rules. Both pass the same suite of tests.
//!
//! After a lost acknowledgement, the result of an append is *unknown*, and not a failure. [`append`] reads the log
//! before it repeats the append. Its callers therefore get exactly one stored event, a conflict, or an error.

mod append;
mod bucket;
mod error;
pub mod faults;
pub mod jetstream;
pub mod memory;
mod message;
mod read;
mod signals;
mod values;

pub use append::append;
pub use bucket::{Bucket, BucketError, CreateOutcome, Entry, KeyValues, MemoryBucket, Pending, Room};
pub use error::{AppendError, ReadError};
pub use message::RawMessage;
pub use read::{Back, read_after, read_back, read_events, read_from, read_rest};
pub use signals::{Asked, MemorySignals, Question, Questions, SignalError, Signals};
pub use values::{MemoryValues, Values, ValuesError};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::future;
use std::sync::Arc;
use waybill_schema::{DecodeError, Envelope, Event, Partitions, Position, Recorded, Subject};

/// Condition on a subject for an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No condition. The message id prevents duplicates for two minutes. Folds ignore later duplicates.
    Any,
    /// The last event of the subject has this stream sequence. 0 means that the subject has no events.
    LastSeq(u64),
}

/// Event to append.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Subject.
    pub subject: Subject,
    /// Envelope.
    pub envelope: Envelope,
    /// Event.
    pub event: Event,
    /// Condition on the subject.
    pub expect: Expect,
    /// Message id. Repetitions of the same fact have the same id. [`append`] creates one if it is missing.
    pub message_id: Option<String>,
}

/// Stored message: an event, or a message that this build cannot read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Position in the log.
    pub position: Position,
    /// `Nats-Msg-Id` of the append.
    pub message_id: Option<String>,
    /// Subject as text, which is needed for messages that cannot be read.
    pub subject: String,
    /// Sequence of the previous event of the subject, or 0 for the first event. `None` if the event was appended with
    /// [`Expect::Any`].
    pub previous: Option<u64>,
    /// The event, or the reason why it cannot be read.
    pub event: Result<Recorded, DecodeError>,
}

/// Page of stored messages.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The messages, in the order of the stream.
    pub messages: Vec<Stored>,
    /// `true` if there are more messages after the last one.
    pub more: bool,
}

/// Epoch and end of the stream of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Incarnation of the stream. It changes when the stream is created again. Positions of another epoch are not
    /// valid.
    pub epoch: String,
    /// Last sequence, or 0 if the stream is empty.
    pub last_seq: u64,
}

/// Log of events, divided into partitions.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Returns the number of partitions.
    fn partitions(&self) -> Partitions;

    /// Appends an event with a single attempt, and does not check the log after a lost answer. Use [`append`] instead.
    ///
    /// # Errors
    /// [`AppendError`] if the event was not appended. After [`AppendError::Unknown`] the event may be stored.
    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError>;

    /// Returns the last event of a subject from the leader of the stream. The cost does not depend on the length of the
    /// stream.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError>;

    /// Returns the message at a position from the leader of the stream. The cost does not depend on the length of the
    /// stream.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError>;

    /// Returns up to `max` events of a subject after sequence `after`. The answer may lag behind the leader. The server
    /// scans all messages of the stream between the events. Prefer [`read_after`], which reads backwards from the last
    /// event.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError>;

    /// Returns all messages of a partition after sequence `after`, and then the new messages when they arrive.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer. Later errors are items of the stream, which continues if
    /// possible.
    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError>;

    /// Returns a stream with an item for each append to a subject from now on. An item can come before reads return the
    /// event, and items can be lost.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    async fn appends(&self, subject: Subject) -> Result<BoxStream<'static, ()>, ReadError> {
        let partition = self.partitions().of(subject.company);
        let end = self.head(partition).await?.last_seq;
        let name = subject.to_nats(self.partitions());
        let events = self.subscribe(partition, end).await?;
        let is_of_subject = move |event: &Result<Stored, ReadError>| event.as_ref().is_ok_and(|it| it.subject == name);
        Ok(events.filter(move |event| future::ready(is_of_subject(event))).map(drop).boxed())
    }

    /// Returns the same log with a separate connection, if that is possible. Use it for a thread that reads large parts
    /// of the log. The runtime that awaits this function also runs the tasks of the connection.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the connection fails.
    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>>;

    /// Returns a number that changes when the log may have been replaced. A restarted server may have been restored
    /// from a copy, so that other events may have the known positions. Callers must then read and fold all events
    /// again.
    fn generation(&self) -> u64 {
        0
    }

    /// Waits until the log stops answering. Waits forever if the log cannot detect that. Use it to stop other waits
    /// that depend on the log.
    async fn silent(&self) {
        std::future::pending().await
    }

    /// Returns the storage for snapshots of aggregates with many events. `None` if snapshots are not stored.
    fn snapshots(&self) -> Option<&dyn Values> {
        None
    }

    /// Returns the end of the stream of a partition.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the log does not answer.
    async fn head(&self, partition: u32) -> Result<Head, ReadError>;
}
