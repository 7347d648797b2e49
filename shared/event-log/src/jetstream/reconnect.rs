//! Notices that the connection to NATS is a new one.
//!
//! A server that was restarted has forgotten the consumers that it kept in memory and the requests that waited for
//! messages. async-nats learns of that from a missing heartbeat, seconds later; the new connection is known at once.

use super::log::unavailable;
use crate::ReadError;
use futures_util::stream::poll_fn;
use futures_util::{FutureExt, Stream, StreamExt};
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Duration;

/// How often it is looked whether the connection is another one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The connection as it was.
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

    /// Ends a stream with an error when there is a new connection.
    pub(super) fn ending<T>(
        self,
        mut stream: impl Stream<Item = Result<T, ReadError>> + Unpin,
    ) -> impl Stream<Item = Result<T, ReadError>> {
        let mut replaced = Some(self.replaced().boxed());
        poll_fn(move |context| {
            let Some(waiting) = &mut replaced else { return Poll::Ready(None) };
            // Messages that have arrived are handed out first.
            if let Poll::Ready(next) = stream.poll_next_unpin(context) {
                return Poll::Ready(next);
            }
            let error = ready!(waiting.poll_unpin(context));
            replaced = None;
            Poll::Ready(Some(Err(error)))
        })
    }

    /// Waits until there is a new connection. Returns the error for a reader of the old one.
    async fn replaced(self) -> ReadError {
        let mut look = tokio::time::interval(LOOK_EVERY);
        while connects(&self.client) == self.connects {
            look.tick().await;
        }
        unavailable("the connection to NATS is a new one")
    }
}

/// How often a client has connected so far.
pub(super) fn connects(client: &async_nats::Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}
