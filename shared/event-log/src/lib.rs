//! The event log: append with an expected sequence, load, subscribe. [`jetstream`] is the real one, [`memory`] the one
//! for tests of rules; one compliance suite holds for both.
//!
//! A lost acknowledgement means *unknown*, not failed. [`append`] looks before it tries again, so that its callers see
//! an event stored once, a conflict, or an error.

mod append;
pub mod chain;
mod error;
pub mod faults;
pub mod jetstream;
pub mod memory;
mod page;

pub use append::append;
pub use error::{AppendError, ReadError};
pub use page::{read_all, read_events};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use waybill_schema::{DecodeError, Envelope, Event, Partitions, Position, Recorded, Subject};

/// What must be true of a subject for an append to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing. The message id alone keeps duplicates out, for two minutes; folds do afterwards.
    Any,
    /// The subject's last event has this stream sequence; 0 means that it has none.
    LastSeq(u64),
}

/// An event that is about to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What it is about.
    pub subject: Subject,
    /// Who, when, why.
    pub envelope: Envelope,
    /// What happened.
    pub event: Event,
    /// What must be true of the subject.
    pub expect: Expect,
    /// The same fact has the same id. Without one, [`append`] makes one up.
    pub message_id: Option<String>,
}

/// A message as it is stored: an event, or something that this build cannot read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Where it stands.
    pub position: Position,
    /// The `Nats-Msg-Id` it was appended with.
    pub message_id: Option<String>,
    /// The subject as text, for messages that cannot be read.
    pub subject: String,
    /// The event, or why it cannot be read.
    pub event: Result<Recorded, DecodeError>,
}

/// A page of stored messages.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In stream order.
    pub messages: Vec<Stored>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// Where a partition's stream ends, and which incarnation of it that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Changes when the stream was made anew: positions of another epoch mean nothing.
    pub epoch: String,
    /// The last sequence; 0 for an empty stream.
    pub last_seq: u64,
}

/// A log of events in partitions.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// How many partitions it has.
    fn partitions(&self) -> Partitions;

    /// Appends once, without looking after a lost answer. Use [`append`].
    ///
    /// # Errors
    /// [`AppendError`]; after [`AppendError::Unknown`] the event may or may not be stored.
    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError>;

    /// The sequence of the last event whose subject matches `filter`, as the stream's leader knows it; 0 without one.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn last_seq(&self, partition: u32, filter: &str) -> Result<u64, ReadError>;

    /// Up to `max` messages whose subjects match `filter`, behind sequence `after`. May lag behind the leader.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn page(&self, partition: u32, filter: &str, after: u64, max: usize) -> Result<Page, ReadError>;

    /// All messages of a partition behind sequence `after`, and then those that come.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; later ones are items of the stream, which goes on where it can.
    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError>;

    /// The end of a partition's stream.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn head(&self, partition: u32) -> Result<Head, ReadError>;
}
