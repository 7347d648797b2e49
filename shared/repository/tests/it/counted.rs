//! A log in memory that counts the events that are read from it.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use uuid::Uuid;
use waybill_event_log::memory::MemoryLog;
use waybill_event_log::{AppendError, EventLog, Head, NewEvent, Page, ReadError, Stored, Values};
use waybill_repository::Context;
use waybill_schema::{Actor, Causation, Partitions, Position, Subject, Timestamp};

pub(crate) struct CountedLog {
    /// The log, and the one that replaces it.
    logs: [MemoryLog; 2],
    /// Index of the current log.
    current: AtomicUsize,
    generation: AtomicU64,
    read: AtomicUsize,
}

impl CountedLog {
    pub(crate) fn new() -> Self {
        let log = || MemoryLog::new(Partitions::new(1).unwrap());
        Self {
            logs: [log(), log()],
            current: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            read: AtomicUsize::new(0),
        }
    }

    /// Replaces the log by an empty one, like a server that was restored. The clients of a server that is not restarted keep
    /// their connections, and do not notice it.
    pub(crate) fn replace(&self, is_noticed: bool) {
        self.current.store(1, Ordering::SeqCst);
        self.generation.store(is_noticed.into(), Ordering::SeqCst);
    }

    pub(crate) fn inner(&self) -> &MemoryLog {
        &self.logs[self.current.load(Ordering::SeqCst)]
    }

    /// Returns the number of events that were read since the last call.
    pub(crate) fn read(&self) -> usize {
        self.read.swap(0, Ordering::SeqCst)
    }

    fn count(&self, events: usize) {
        self.read.fetch_add(events, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventLog for CountedLog {
    fn partitions(&self) -> Partitions {
        self.inner().partitions()
    }

    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError> {
        self.inner().publish(event).await
    }

    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError> {
        self.count(1);
        self.inner().last(subject).await
    }

    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError> {
        self.count(1);
        self.inner().at(position).await
    }

    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError> {
        let page = self.inner().page(subject, after, max).await?;
        self.count(page.messages.len());
        Ok(page)
    }

    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError> {
        self.inner().subscribe(partition, after).await
    }

    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>> {
        self.inner().apart()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn snapshots(&self) -> Option<&dyn Values> {
        self.inner().snapshots()
    }

    async fn head(&self, partition: u32) -> Result<Head, ReadError> {
        self.inner().head(partition).await
    }
}

pub(crate) fn context() -> Context {
    Context {
        actor: Actor::Service("test".to_owned()),
        causation: Causation::Request(Uuid::now_v7()),
        address: None,
        clock: || Timestamp(1_000_000),
    }
}
