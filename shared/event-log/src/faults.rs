//! A log whose answers get lost, to test what relies on one.

use crate::{AppendError, EventLog, Head, NewEvent, Page, ReadError, Stored, Values};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use waybill_schema::{Partitions, Position, Subject};

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is stored, and the answer is lost.
    AckLost,
    /// It never arrives, and no answer comes.
    Dropped,
    /// The log says that it takes nothing now.
    Refused,
    /// It is stored, and the log says that it was not.
    StoredAndRefused,
}

/// Wraps a log; the faults are used up one an append.
pub struct FaultyLog<L> {
    inner: L,
    faults: Mutex<VecDeque<Fault>>,
}

impl<L: EventLog> FaultyLog<L> {
    /// `inner`, with these faults ahead of it.
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
