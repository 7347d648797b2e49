//! The event log on the streams of a NATS server.

use super::message::{one, stored, unavailable};
use super::metadata::check_partitions;
use super::pulse::Pulse;
use super::reconnect::{Connection, connects};
use super::vocabulary::{Version, Vocabulary};
use super::{ProvisionError, RawEvents, Records, Server, batch_get, context};
use crate::Bucket;
use crate::{AppendError, EventLog, Expect, Head, NewEvent, Page, ReadError, Stored, Values};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy, pull::OrderedConfig};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use futures_util::{FutureExt, TryFutureExt};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::envelope::header;
use waybill_schema::events::EarlierBody;
use waybill_schema::names::RecordKind;
use waybill_schema::{Event, Partitions, Position, Subject, names};

/// Time for which a read is repeated if no stream listens for it: while nats-server reloads its users, or a cluster elects a
/// leader. [`crate::append`] repeats appends.
const UNHEARD_WITHIN: Duration = Duration::from_secs(1);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Event log in the streams `EVT-{p}` of a NATS server.
#[derive(Clone)]
pub struct JetStreamLog {
    context: jetstream::Context,
    /// Context for reads, so that appends do not wait for them.
    reads: jetstream::Context,
    client: async_nats::Client,
    /// Detects whether the server answers on the connection for appends.
    pulse: Pulse,
    /// The same for the connection for reads.
    reads_pulse: Pulse,
    partitions: Partitions,
    vocabulary: Vocabulary,
    snapshots: Option<Bucket>,
    server: Option<Server>,
}

impl JetStreamLog {
    /// Creates a log on a connection. The streams must exist: see [`super::provision`].
    pub fn new(client: async_nats::Client, partitions: Partitions) -> Self {
        let pulse = Pulse::of(&client);
        let (context, reads) = (context(client.clone()), context(client.clone()));
        Self {
            context,
            reads,
            client,
            reads_pulse: pulse.clone(),
            pulse,
            partitions,
            vocabulary: Vocabulary::default(),
            snapshots: None,
            server: None,
        }
    }

    /// Returns the same log with the settings to open further connections.
    #[must_use]
    pub fn on(self, server: Server) -> Self {
        Self { server: Some(server), ..self }
    }

    /// Returns the same log with a separate connection for reads. A server answers the requests of a connection in
    /// order, so that appends would otherwise wait for earlier reads.
    #[must_use]
    pub fn reading_by(self, reads: async_nats::Client) -> Self {
        Self { reads_pulse: Pulse::of(&reads), reads: context(reads), ..self }
    }

    /// Checks that the streams have the configured number of partitions and that this build can read all events that
    /// they accept, and remembers these events.
    ///
    /// # Errors
    /// [`ProvisionError::Partitions`] if they have another number, [`ProvisionError::TooOld`] if the build cannot read
    /// the events, [`ProvisionError::Server`] if the server does not answer.
    pub fn checked(self) -> BoxFuture<'static, Result<Self, ProvisionError>> {
        Box::pin(async move {
            check_partitions(&self.reads, self.partitions).await?;
            let vocabulary = Vocabulary::checked(&self.reads, self.partitions).await?;
            Ok(Self { vocabulary, ..self })
        })
    }

    /// Returns the same log with a bucket for snapshots.
    #[must_use]
    pub fn keeping_snapshots_in(self, snapshots: Bucket) -> Self {
        Self { snapshots: Some(snapshots), ..self }
    }

    /// Returns the stored messages, for auditors.
    pub fn raw_events(&self) -> RawEvents {
        RawEvents::new(self.reads.clone(), self.partitions)
    }

    /// Returns the records of one kind, for auditors.
    pub fn records(&self, kind: RecordKind) -> Records {
        Records::by(kind, self.context.clone(), self.reads.clone(), self.partitions)
    }

    /// Returns the body of an event in the newest version that the log accepts.
    async fn accepted_body(&self, partition: u32, event: &Event) -> Result<EarlierBody, AppendError> {
        let (event_type, version) = (event.event_type(), event.version());
        if self.accepts(partition, Version { event_type, version }).await {
            return Ok(EarlierBody { version, bytes: event.encode().map_err(unencoded)? });
        }
        if let Some(earlier) = event.encode_earlier().map_err(unencoded)?
            && self.accepts(partition, Version { event_type, version: earlier.version }).await
        {
            return Ok(earlier);
        }
        Err(AppendError::Unavailable(format!(
            "{event_type} version {version} is not enabled yet; upgrade all processes, then run \
             `waybill provision --accept-new-events`"
        )))
    }

    async fn accepts(&self, partition: u32, version: Version) -> bool {
        let accepts = self.vocabulary.accepts(&self.context, partition, version);
        let is_accepted = self.pulse.unless_silent(accepts).await;
        is_accepted.unwrap_or_else(|_| self.vocabulary.is_unasked(partition))
    }

    async fn stream(&self, partition: u32) -> Result<Stream<()>, ReadError> {
        self.context.get_stream_no_info(names::event_stream(partition)).await.map_err(unavailable)
    }

    /// Waits for the answer to a read. Stops early if the server does not answer at all, and repeats a read that no stream
    /// has heard.
    async fn read<T, F>(&self, read: impl Fn() -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        answered(&self.reads_pulse, read).await
    }

    /// Returns the stream of a partition on the connection for reads.
    async fn to_read(&self, partition: u32) -> Result<Stream<()>, ReadError> {
        self.reads.get_stream_no_info(names::event_stream(partition)).await.map_err(unavailable)
    }
}

#[async_trait]
impl EventLog for JetStreamLog {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    async fn publish(&self, event: &NewEvent) -> Result<Position, AppendError> {
        let partition = self.partitions.of(event.subject.company);
        let body = self.accepted_body(partition, &event.event).await?;
        let mut headers = HeaderMap::new();
        for (name, value) in event.envelope.to_headers(&event.event) {
            headers.insert(name, value);
        }
        headers.insert(header::VERSION, body.version.to_string());
        let mut message = PublishMessage::build().payload(body.bytes.into()).headers(headers);
        if let Some(id) = &event.message_id {
            message = message.message_id(id);
        }
        if let Expect::LastSeq(seq) = event.expect {
            message = message.expected_last_subject_sequence(seq);
        }
        let subject = event.subject.to_nats(self.partitions);
        let publish = async { self.context.send_publish(subject, message).await?.await };
        let answered = self.pulse.unless_silent(publish).await;
        // The message was sent and may still arrive.
        let ack = answered.map_err(|silent| AppendError::Unknown(silent.to_string()))?.map_err(append_error)?;
        Ok(Position { partition, seq: ack.sequence })
    }

    async fn last(&self, subject: Subject) -> Result<Option<Stored>, ReadError> {
        let partition = self.partitions.of(subject.company);
        let stream = self.to_read(partition).await?;
        let name = subject.to_nats(self.partitions);
        self.read(|| stream.get_last_raw_message_by_subject(&name).map(|found| one(partition, found))).await
    }

    async fn at(&self, position: Position) -> Result<Option<Stored>, ReadError> {
        let stream = self.to_read(position.partition).await?;
        self.read(|| stream.get_raw_message(position.seq).map(|found| one(position.partition, found))).await
    }

    async fn page(&self, subject: Subject, after: u64, max: usize) -> Result<Page, ReadError> {
        let partition = self.partitions.of(subject.company);
        let filter = subject.to_nats(self.partitions);
        self.read(|| batch_get::page(&self.reads, partition, &filter, after, max)).await
    }

    async fn subscribe(
        &self,
        partition: u32,
        after: u64,
    ) -> Result<BoxStream<'static, Result<Stored, ReadError>>, ReadError> {
        // The consumer has a name, because users of NATS can be denied to create or change consumers by their names.
        let config = OrderedConfig {
            name: self.client.new_inbox().rsplit('.').next().map(str::to_owned),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            replay_policy: ReplayPolicy::Instant,
            ..OrderedConfig::default()
        };
        let connection = Connection::of(self.client.clone());
        let consumer = self.stream(partition).await?.create_consumer(config).await.map_err(unavailable)?;
        let messages = consumer.messages().await.map_err(unavailable)?;
        let events = messages.map(move |message| {
            let message = message.map_err(unavailable)?;
            let seq = message.info().map_err(unavailable)?.stream_sequence;
            Ok(stored(Position { partition, seq }, &message.subject, message.headers.as_ref(), &message.payload))
        });
        Ok(connection.ending(events).boxed())
    }

    async fn appends(&self, subject: Subject) -> Result<BoxStream<'static, ()>, ReadError> {
        // A server handles what it receives from one connection in order. A read after this function therefore cannot
        // overtake the subscription.
        let messages = self.reads.client().subscribe(subject.to_nats(self.partitions)).await.map_err(unavailable)?;
        Ok(messages.map(drop).boxed())
    }

    fn apart(&self) -> BoxFuture<'static, Result<Arc<dyn EventLog>, ReadError>> {
        let log = self.clone();
        async move {
            let Some(server) = &log.server else { return Ok(Arc::new(log) as Arc<dyn EventLog>) };
            let client = server.connect().await.map_err(unavailable)?;
            let Self { vocabulary, snapshots, server, .. } = log;
            let log = Self::new(client, log.partitions);
            Ok(Arc::new(Self { vocabulary, snapshots, server, ..log }) as Arc<dyn EventLog>)
        }
        .boxed()
    }

    fn generation(&self) -> u64 {
        connects(&self.client)
    }

    async fn silent(&self) {
        self.pulse.silent().await;
    }

    fn snapshots(&self) -> Option<&dyn Values> {
        self.snapshots.as_ref().map(|bucket| bucket as &dyn Values)
    }

    async fn head(&self, partition: u32) -> Result<Head, ReadError> {
        let stream = self.stream(partition).await?;
        let info = answered(&self.pulse, || stream.get_info().map_err(unavailable)).await?;
        Ok(Head { epoch: info.created.unix_timestamp_nanos().to_string(), last_seq: info.state.last_sequence })
    }
}

fn unencoded(error: impl std::fmt::Display) -> AppendError {
    AppendError::Encode(error.to_string())
}

/// Waits for the answer to a read. Stops early if the server does not answer at all. Repeats a read that fails immediately,
/// for [`UNHEARD_WITHIN`].
async fn answered<T, F>(pulse: &Pulse, read: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let until = Instant::now() + UNHEARD_WITHIN;
    loop {
        match pulse.unless_silent(read()).await.map_err(unavailable)? {
            Err(ReadError::Unavailable(_)) if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// Converts an error of the client library. The error code is checked first, because with replicas a conflict with a
/// concurrent write has its own code.
fn append_error(error: PublishError) -> AppendError {
    let code =
        error.source().and_then(|source| source.downcast_ref::<jetstream::Error>()).map(jetstream::Error::error_code);
    if matches!(code, Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)) {
        return AppendError::Conflict;
    }
    match error.kind() {
        PublishErrorKind::WrongLastSequence => AppendError::Conflict,
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => AppendError::Unknown(error.to_string()),
        PublishErrorKind::Other if code.is_none() => AppendError::Unknown(error.to_string()),
        _ => AppendError::Unavailable(error.to_string()),
    }
}
