//! Durable consumers that several processes share. Every event is delivered to one of them, and again until one of them
//! acknowledges it.

use super::context;
use super::message::{stored, unavailable};
use super::reconnect::Connection;
use crate::{ReadError, Stored};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, AckKind, ErrorCode};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};
use std::time::Duration;
use waybill_schema::{Position, names};

/// Definition of the consumer of verified files.
const SCANS: &str = include_str!("../../../../nats/consumers/scans.json");
/// Definition of the consumer of files that can become readable.
const PREVIEWS: &str = include_str!("../../../../nats/consumers/previews.json");

/// Definition of the consumer of contents that were compressed.
const REPLACED: &str = include_str!("../../../../nats/consumers/replaced.json");
/// Definition of the consumer of requests for archived files.
const THAWS: &str = include_str!("../../../../nats/consumers/thaws.json");

/// Definition of the consumer of files that nobody may read any more.
const PURGES: &str = include_str!("../../../../nats/consumers/purges.json");

/// Consumer that a role creates while it has a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Verified files, for virus scans.
    Scans,
    /// Files that can become readable, for previews.
    Previews,
    /// Contents that were compressed or moved.
    Replaced,
    /// Archived files that somebody wants to read.
    Thaws,
    /// Files that nobody may read any more, for a content delivery network.
    Purges,
}

impl Passing {
    /// Returns the name of the consumer.
    pub const fn durable(self) -> &'static str {
        match self {
            Self::Scans => names::SCANS_DURABLE,
            Self::Previews => names::PREVIEWS_DURABLE,
            Self::Replaced => names::REPLACED_DURABLE,
            Self::Thaws => names::THAWS_DURABLE,
            Self::Purges => names::PURGES_DURABLE,
        }
    }

    fn definition(self) -> &'static str {
        match self {
            Self::Scans => SCANS,
            Self::Previews => PREVIEWS,
            Self::Replaced => REPLACED,
            Self::Thaws => THAWS,
            Self::Purges => PURGES,
        }
    }
}

/// Maximum time for which one request waits for events. It is limited because another server of a cluster may not know
/// the waiting request.
const WAIT: Duration = Duration::from_secs(10);

/// Consumer of the events of one partition.
pub struct Reactions {
    consumer: PullConsumer,
    client: async_nats::Client,
    partition: u32,
}

/// Event that a process must react to.
pub struct Delivery {
    /// The event.
    pub stored: Stored,
    /// Number of deliveries of the event, including this one.
    pub attempt: i64,
    message: jetstream::Message,
}

impl Reactions {
    /// Creates a consumer if it does not exist. A new one begins with the next event.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server refuses the consumer or does not answer.
    pub fn create(
        client: &async_nats::Client,
        consumer: Passing,
        partition: u32,
    ) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            let stream = names::event_stream(partition);
            let config: Value = serde_json::from_str(consumer.definition()).map_err(unavailable)?;
            let request = json!({ "stream_name": stream, "config": config, "action": "" });
            let subject = format!("CONSUMER.CREATE.{stream}.{}", consumer.durable());
            let answer: Response<Value> =
                context(client.clone()).request(subject, &request).await.map_err(unavailable)?;
            match answer {
                Response::Ok(_) => Ok(()),
                Response::Err { error } => Err(unavailable(error)),
            }
        })
    }

    /// Deletes a consumer. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer.
    pub fn delete(
        client: &async_nats::Client,
        consumer: Passing,
        partition: u32,
    ) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            let subject = format!("CONSUMER.DELETE.{}.{}", names::event_stream(partition), consumer.durable());
            let answer: Response<Value> =
                context(client.clone()).request(subject, &json!({})).await.map_err(unavailable)?;
            match answer {
                Response::Err { error } if error.error_code() != ErrorCode::CONSUMER_NOT_FOUND => {
                    Err(unavailable(error))
                }
                Response::Ok(_) | Response::Err { .. } => Ok(()),
            }
        })
    }

    /// Opens the consumer `durable` of a partition.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the consumer does not exist or the server does not answer.
    pub fn open<'a>(
        client: &'a async_nats::Client,
        durable: &'static str,
        partition: u32,
    ) -> BoxFuture<'a, Result<Self, ReadError>> {
        Box::pin(async move {
            let context = context(client.clone());
            let consumer: PullConsumer =
                context.get_consumer_from_stream(durable, names::event_stream(partition)).await.map_err(unavailable)?;
            Ok(Self { consumer, client: client.clone(), partition })
        })
    }

    /// Requests up to `most` of the next events. The stream ends after this number of events, or after 10 s.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], which can also be an item of the stream. The caller must then open the consumer
    /// again.
    pub fn pull(
        &self,
        most: usize,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Delivery, ReadError>>, ReadError>> {
        Box::pin(async move {
            let connection = Connection::of(self.client.clone());
            let pulled =
                self.consumer.batch().max_messages(most).expires(WAIT).messages().await.map_err(unavailable)?;
            let partition = self.partition;
            let deliveries = pulled.map(move |message| {
                let message = message.map_err(unavailable)?;
                let info = message.info().map_err(unavailable)?;
                let (position, attempt) = (Position { partition, seq: info.stream_sequence }, info.delivered);
                let stored = stored(position, &message.subject, message.headers.as_ref(), &message.payload);
                Ok(Delivery { stored, attempt, message })
            });
            Ok(connection.ending(deliveries).boxed())
        })
    }
}

impl Delivery {
    /// Acknowledges the event: the reaction is complete.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer. The event may then be delivered again.
    pub fn done(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack().await.map_err(unavailable) })
    }

    /// Extends the time for the reaction, which is still running.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer.
    pub fn in_progress(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack_with(AckKind::Progress).await.map_err(unavailable) })
    }

    /// Requests that the event is delivered again after `delay`.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the server does not answer. The event is delivered again in any case.
    pub fn again_in(&self, delay: Duration) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack_with(AckKind::Nak(Some(delay))).await.map_err(unavailable) })
    }
}
