//! An event log in memory, with the semantics of JetStream that Waybill relies on.

use crate::{AppendError, EventLog, Expect, Head, MemoryValues, NewEvent, Page, ReadError, Stored, Values};
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use waybill_schema::{Partitions, Position, Recorded, Subject};
use waybill_service_kit::new_id;

#[derive(Default)]
struct Streams {
    messages: HashMap<u32, Vec<Stored>>,
    ids: HashMap<String, Position>,
}

/// Event log in memory. Its events are lost when the value is dropped.
///
/// ```
/// use uuid::Uuid;
/// use waybill_event_log::memory::MemoryLog;
/// use waybill_event_log::{AppendError, Expect, NewEvent, append, read_after};
/// use waybill_schema::events::SessionClosed;
/// use waybill_schema::{
///     Actor, Causation, CompanyId, Entity, Envelope, Partitions, Routing, SessionId, Subject, Timestamp,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = MemoryLog::new(Partitions::new(4).ok_or("there must be partitions")?);
/// let session = Entity::Session(SessionId(Uuid::from_u128(2)));
/// let event = NewEvent {
///     subject: Subject::new(CompanyId(Uuid::from_u128(1)), session),
///     envelope: Envelope {
///         time: Timestamp(1_700_000_000_000),
///         actor: Actor::Service("example".to_owned()),
///         causation: Causation::Request(Uuid::from_u128(3)),
///         address: None,
///         routing: Routing::default(),
///     },
///     event: SessionClosed {}.into(),
///     expect: Expect::LastSeq(0),
///     message_id: None,
/// };
/// let position = append(&log, event.clone()).await?;
///
/// // The subject now has an event, so the same expectation fails.
/// assert!(matches!(append(&log, event.clone()).await, Err(AppendError::Conflict)));
///
/// let stored = read_after(&log, event.subject, 0).await?;
/// assert_eq!(stored.len(), 1);
/// assert_eq!(stored[0].position, position);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryLog {
    partitions: Partitions,
    epoch: String,
    streams: Arc<Mutex<Streams>>,
    appended: watch::Sender<u64>,
    snapshots: MemoryValues,
}

impl MemoryLog {
    /// Creates an empty log.
    pub fn new(partitions: Partitions) -> Self {
        let epoch = new_id().to_string();
        Self {
            partitions,
            epoch,
            streams: Arc::default(),
            appended: watch::Sender::new(0),
            snapshots: MemoryValues::default(),
        }
    }

    /// Locks the streams. A poisoned lock is no problem, because every change is a single push.
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page_where(&self, partition: u32, after: u64, max: usize, is_wanted: impl Fn(&str) -> bool) -> Page {
        let streams = self.streams();
        let all = streams.messages.get(&partition).into_iter().flatten();
        let mut found = all.filter(|message| message.position.seq > after && is_wanted(&message.subject)).cloned();
        let messages: Vec<Stored> = found.by_ref().take(max).collect();
        Page { messages, more: found.next().is_some() }
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError> {
        let mut streams = self.streams();
        let partition = self.partitions.of(event.subject.company);
        let subject = event.subject.to_nats(self.partitions);
        let messages = streams.messages.entry(partition).or_default();
        let last = messages.iter().rev().find(|m| m.subject == subject).map_or(0, |m| m.position.seq);
        if let Expect::LastSeq(expected) = event.expect
            && expected != last
        {
            return Err(AppendError::Conflict);
        }
        let position = Position { partition, seq: messages.len() as u64 + 1 };
        if let Some(known) = event.message_id.as_ref().and_then(|id| streams.ids.get(id)) {
            return Ok(*known);
        }
        let bytes = event.event.encode().map_err(|error| AppendError::Encode(error.to_string()))?;
        let headers = event.envelope.to_headers(&event.event);
        let header = |name| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let decoded = Recorded::decode(position, &subject, header, &bytes);
        let previous = match event.expect {
            Expect::LastSeq(seq) => Some(seq),
            Expect::Any => None,
        };
        let stored = Stored { position, message_id: event.message_id.clone(), subject, previous, event: decoded };
        streams.messages.entry(partition).or_default().push(stored);
        if let Some(id) = &event.message_id {
            streams.ids.insert(id.clone(), position);
        }
        drop(streams);
        self.appended.send_modify(|count| *count += 1);
        Ok(position)
    }

    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError> {
        let name = subject.to_nats(self.partitions);
        let streams = self.streams();
        let mut newest_first = streams.messages.get(&self.partitions.of(subject.company)).into_iter().flatten().rev();
        Ok(newest_first.find(|message| message.subject == name).cloned())
    }

    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError> {
        let index = usize::try_from(position.seq).ok().and_then(|seq| seq.checked_sub(1));
        let streams = self.streams();
        let messages = streams.messages.get(&position.partition);
        Ok(messages.zip(index).and_then(|(messages, index)| messages.get(index)).cloned())
    }

    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError> {
        let name = subject.to_nats(self.partitions);
        Ok(self.page_where(self.partitions.of(subject.company), after, max, |subject| subject == name))
    }

    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError> {
        let log = self.clone();
        let appended = self.appended.subscribe();
        Ok(stream::unfold((log, appended, after), move |(log, mut appended, after)| async move {
            loop {
                appended.mark_unchanged();
                let index = usize::try_from(after).unwrap_or(usize::MAX);
                let next = log.streams().messages.get(&partition).and_then(|all| all.get(index)).cloned();
                if let Some(next) = next {
                    let seq = next.position.seq;
                    return Some((Ok(next), (log, appended, seq)));
                }
                appended.changed().await.ok()?;
            }
        })
        .boxed())
    }

    fn snapshots(&self) -> Option<&dyn Values> {
        Some(&self.snapshots)
    }

    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>> {
        let same: Arc<dyn EventLog> = Arc::new(self.clone());
        future::ready(Ok(same)).boxed()
    }

    async fn head(&self, partition: u32) -> Result<Head, ReadError> {
        let last_seq = self.streams().messages.get(&partition).map_or(0, |all| all.len() as u64);
        Ok(Head { epoch: self.epoch.clone(), last_seq })
    }
}
