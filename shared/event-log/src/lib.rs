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
mod read;
mod values;

pub use append::append;
pub use error::{AppendError, ReadError};
pub use read::{Back, read_after, read_back, read_events, read_from, read_rest};
pub use values::{MemoryValues, Values, ValuesError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::sync::Arc;
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
    /// The sequence of the event before it on its subject, 0 for the first one. `None` if it was appended with
    /// [`Expect::Any`].
    pub previous: Option<u64>,
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

    /// The last event of a subject, as the stream's leader knows it. Costs the same however long the stream is.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError>;

    /// The message at a position, as the stream's leader knows it. Costs the same however long the stream is.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError>;

    /// Up to `max` events of a subject behind sequence `after`. May lag behind the leader. Costs as much as all of the
    /// stream between them does: use [`read_after`], which goes back from the last event.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError>;

    /// All messages of a partition behind sequence `after`, and then those that come.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; later ones are items of the stream, which goes on where it can.
    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError>;

    /// Returns the same log by a connection of its own, if it can have one: for a thread that reads much of it. The runtime
    /// that awaits this does the connection's work.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>>;

    /// Changes when the log may be another one: a server that was restarted may have been restored from a copy, and its events
    /// may have the positions of others. What was folded before is then read anew.
    fn generation(&self) -> u64 {
        0
    }

    /// Waits until the log does not answer any more; for ever where that cannot be told. Whoever waits for something else
    /// than an answer of the log then need not wait longer.
    async fn silent(&self) {
        std::future::pending().await
    }

    /// Where folds of long subjects are kept, so that they need not be read from their beginning; `None` where nowhere.
    fn snapshots(&self) -> Option<&dyn Values> {
        None
    }

    /// The end of a partition's stream.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    async fn head(&self, partition: u32) -> Result<Head, ReadError>;
}
