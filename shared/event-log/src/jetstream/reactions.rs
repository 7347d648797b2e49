//! The durable consumer that workers share: every event is handed to one of them until it was acknowledged.

use super::context;
use super::log::{stored, unavailable};
use super::reconnect::Connection;
use crate::{ReadError, Stored};
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::time::Duration;
use waybill_schema::{Position, names};

/// How many messages are asked for at a time.
const PULL_BATCH: usize = 64;

/// The reactions of one partition.
pub struct Reactions {
    messages: BoxStream<'static, Result<jetstream::Message, ReadError>>,
    partition: u32,
}

/// One event to react to.
pub struct Delivery {
    /// The event.
    pub stored: Stored,
    message: jetstream::Message,
}

impl Reactions {
    /// Opens the durable consumer of a partition.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn open(client: &async_nats::Client, partition: u32) -> Result<Self, ReadError> {
        let connection = Connection::of(client.clone());
        let context = context(client.clone());
        let consumer: PullConsumer = context
            .get_consumer_from_stream(names::REACTIONS_DURABLE, names::event_stream(partition))
            .await
            .map_err(unavailable)?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_BATCH)
            .heartbeat(Duration::from_secs(5))
            .expires(Duration::from_secs(30))
            .messages()
            .await
            .map_err(unavailable)?;
        let messages = messages.map(|message| message.map_err(unavailable));
        Ok(Self { messages: connection.ending(messages).boxed(), partition })
    }

    /// The next event.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; open anew.
    pub async fn next(&mut self) -> Result<Delivery, ReadError> {
        let next = self.messages.next().await;
        let message = next.ok_or_else(|| unavailable("the consumer ended"))??;
        let seq = message.info().map_err(unavailable)?.stream_sequence;
        let position = Position { partition: self.partition, seq };
        let stored = stored(position, &message.subject, message.headers.as_ref(), &message.payload);
        Ok(Delivery { stored, message })
    }
}

impl Delivery {
    /// Done.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; it will be delivered again.
    pub async fn done(&self) -> Result<(), ReadError> {
        self.message.ack().await.map_err(unavailable)
    }

    /// Still at it.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn in_progress(&self) -> Result<(), ReadError> {
        self.message.ack_with(AckKind::Progress).await.map_err(unavailable)
    }

    /// Again, after a while.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]; it will be delivered again all the same.
    pub async fn again_in(&self, delay: Duration) -> Result<(), ReadError> {
        self.message.ack_with(AckKind::Nak(Some(delay))).await.map_err(unavailable)
    }
}
