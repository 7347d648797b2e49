//! A log with injected faults, such as lost answers, for tests.

use crate::{AppendError, EventLog, Head, NewEvent, Page, ReadError, Stored, Values};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use waybill_schema::{Partitions, Position, Subject};

/// Fault of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// The event is stored, but the answer is lost.
    AckLost,
    /// The event is lost, and there is no answer.
    Dropped,
    /// The log refuses the event.
    Refused,
    /// The event is stored, but the log answers that it refuses the event.
    StoredAndRefused,
}

/// Wraps a log and injects faults. Each append uses up one fault.
pub struct FaultyLog<L> {
    inner: L,
    faults: Mutex<VecDeque<Fault>>,
}

impl<L: EventLog> FaultyLog<L> {
    /// Wraps `inner` with these faults. Appends after the last fault work normally.
    pub fn new(inner: L, faults: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, faults: Mutex::new(faults.into_iter().collect()) }
    }

    fn next_fault(&self) -> Fault {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None)
    }
}

#[async_trait]
impl<L: EventLog> EventLog for FaultyLog<L> {
    fn partitions(&self) -> Partitions {
        self.inner.partitions()
    }

    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError> {
        let lost = || AppendError::Unknown("injected".to_owned());
        let refused = || AppendError::Unavailable("injected".to_owned());
        match self.next_fault() {
            Fault::None => self.inner.publish(event).await,
            Fault::AckLost => self.inner.publish(event).await.and_then(|_| Err(lost())),
            Fault::Dropped => Err(lost()),
            Fault::Refused => Err(refused()),
            Fault::StoredAndRefused => self.inner.publish(event).await.and_then(|_| Err(refused())),
        }
    }

    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError> {
        self.inner.last(subject).await
    }

    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError> {
        self.inner.at(position).await
    }

    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError> {
        self.inner.page(subject, after, max).await
    }

    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError> {
        self.inner.subscribe(partition, after).await
    }

    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>> {
        self.inner.apart()
    }

    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    fn snapshots(&self) -> Option<&dyn Values> {
        self.inner.snapshots()
    }

    async fn silent(&self) {
        self.inner.silent().await;
    }

    async fn head(&self, partition: u32) -> Result<Head, ReadError> {
        self.inner.head(partition).await
    }
}
