//! Detects a new connection to NATS.
//!
//! A restarted server has lost the consumers in its memory and the requests that waited for messages. async-nats
//! notices this seconds later, from a missing heartbeat. The new connection is visible immediately.

use super::message::unavailable;
use crate::ReadError;
use futures_util::stream::poll_fn;
use futures_util::{FutureExt, Stream, StreamExt};
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

/// Time between two checks for a new connection.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Connection at a point in time.
pub(super) struct Connection {
    client: async_nats::Client,
    connects: u64,
}

impl Connection {
    /// Remembers the current connection.
    pub(super) fn of(client: async_nats::Client) -> Self {
        let connects = connects(&client);
        Self { client, connects }
    }

    /// Ends a stream with an error after a reconnect.
    pub(super) fn ending<T>(
        self,
        mut stream: impl Stream<Item = Result<T, ReadError>> + Unpin,
    ) -> impl Stream<Item = Result<T, ReadError>> {
        let mut replaced = Some(self.replaced().boxed());
        poll_fn(move |context| {
            let Some(waiting) = &mut replaced else { return Poll::Ready(None) };
            // Return the messages first that have already arrived.
            if let Poll::Ready(next) = stream.poll_next_unpin(context) {
                return Poll::Ready(next);
            }
            let error = ready!(waiting.poll_unpin(context));
            replaced = None;
            Poll::Ready(Some(Err(error)))
        })
    }

    /// Waits for a new connection. Returns the error for readers on the old connection.
    async fn replaced(self) -> ReadError {
        let mut look = tokio::time::interval(LOOK_EVERY);
        while connects(&self.client) == self.connects {
            look.tick().await;
        }
        unavailable("the client reconnected to NATS")
    }
}

/// Returns the number of times that a client has connected.
pub(super) fn connects(client: &async_nats::Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}
