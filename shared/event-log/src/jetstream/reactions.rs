//! The durable consumer that workers share: every event is handed to one of them until it was acknowledged.

use super::context;
use super::log::{stored, unavailable};
use super::reconnect::Connection;
use crate::{ReadError, Stored};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::time::Duration;
use waybill_schema::{Position, names};

/// How long events are waited for at a time. Another server of a cluster may have forgotten who waits.
const WAIT: Duration = Duration::from_secs(10);

/// The reactions of one partition.
pub struct Reactions {
    consumer: PullConsumer,
    client: async_nats::Client,
    partition: u32,
}

/// One event to react to.
pub struct Delivery {
    /// The event.
    pub stored: Stored,
    /// How often it was delivered, this time included.
    pub attempt: i64,
    message: jetstream::Message,
}

impl Reactions {
    /// Opens the durable consumer of a partition.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub fn open(client: &async_nats::Client, partition: u32) -> BoxFuture<'_, Result<Self, ReadError>> {
        Box::pin(async move {
            let context = context(client.clone());
            let consumer: PullConsumer = context
                .get_consumer_from_stream(names::REACTIONS_DURABLE, names::event_stream(partition))
                .await
                .map_err(unavailable)?;
            Ok(Self { consumer, client: client.clone(), partition })
        })
    }

    /// Asks for the next events, up to `most` of them; the stream ends behind that many, and when there were fewer for a
    /// while.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], also as an item of the stream; open anew.
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
    /// Done.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; it will be delivered again.
    pub fn done(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack().await.map_err(unavailable) })
    }

    /// Still at it.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub fn in_progress(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack_with(AckKind::Progress).await.map_err(unavailable) })
    }

    /// Again, after a while.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; it will be delivered again all the same.
    pub fn again_in(&self, delay: Duration) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move { self.message.ack_with(AckKind::Nak(Some(delay))).await.map_err(unavailable) })
    }
}
