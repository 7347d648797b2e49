//! Signals on core subjects of NATS.

use crate::signals::{Asked, Question, Questions, SignalError, Signals};
use async_nats::connection::State;
use async_nats::{Client, Message, Request, RequestErrorKind};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use std::time::Duration;

impl Signals for Client {
    fn is_connected(&self) -> bool {
        self.connection_state() == State::Connected
    }

    fn ask(&self, subject: String, payload: Bytes, within: Duration) -> BoxFuture<'_, Asked> {
        Box::pin(async move {
            match self.send_request(subject, Request::new().payload(payload).timeout(Some(within))).await {
                Ok(_) => Asked::Answered,
                Err(error) if error.kind() == RequestErrorKind::NoResponders => Asked::NobodyListens,
                Err(_) => Asked::Unanswered,
            }
        })
    }

    fn listen(&self, subject: String) -> BoxFuture<'_, Result<Questions, SignalError>> {
        Box::pin(async move {
            let messages = self.subscribe(subject).await.map_err(|error| SignalError(error.to_string()))?;
            let client = self.clone();
            Ok(messages.map(move |message| question(client.clone(), message)).boxed())
        })
    }
}

fn question(client: Client, message: Message) -> Question {
    Question::new(message.payload, async move {
        let Some(reply) = message.reply else { return };
        if let Err(error) = client.publish(reply, Bytes::new()).await {
            tracing::debug!(%error, "cannot answer a signal");
        }
    })
}
