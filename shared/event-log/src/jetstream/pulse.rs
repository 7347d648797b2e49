//! Detects whether a NATS server answers at all. A server that hangs keeps its connections open, so that each request
//! would wait for its whole timeout. Therefore one task per connection regularly sends a cheap request.
//!
//! A lost connection is not handled here: the client library notices it and reconnects quickly. Requests wait for that
//! as usual.

use async_nats::connection::State;
use async_nats::{Client, Request, RequestErrorKind, Statistics};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use waybill_schema::names;

/// Time between two probes.
const EVERY: Duration = Duration::from_millis(200);
/// Maximum time for the answer to a probe. The server answers a probe without access to a stream, so that it does not
/// wait for other requests.
const ANSWER: Duration = Duration::from_millis(250);
/// Number of consecutive probes without an answer after which the server counts as silent. This takes 0.75 s to 0.95 s.
const MISSED: u32 = 3;

/// Running tasks, by the address of the statistics of the connection, which all clones of a client share.
static PULSES: LazyLock<Mutex<HashMap<usize, Weak<Beat>>>> = LazyLock::new(Mutex::default);

/// State of the task for one connection.
struct Beat {
    silent: watch::Sender<bool>,
    /// Keeps the statistics alive, so that no other connection gets their address.
    _connection: Arc<Statistics>,
}

/// Shows whether the server of a connection answers.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Beat>);

/// Error if the server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NATS does not answer")]
pub(super) struct Silent;

impl Pulse {
    /// Returns the pulse of a client. All clones of a client share one pulse.
    pub(super) fn of(client: &Client) -> Self {
        let connection = client.statistics();
        let key = Arc::as_ptr(&connection) as usize;
        let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(beat) = pulses.get(&key).and_then(Weak::upgrade) {
            return Self(beat);
        }
        pulses.retain(|_, beat| beat.strong_count() > 0);
        let beat = Arc::new(Beat { silent: watch::Sender::new(false), _connection: connection });
        pulses.insert(key, Arc::downgrade(&beat));
        tokio::spawn(watch_over(client.clone(), Arc::downgrade(&beat)));
        Self(beat)
    }

    /// Waits until the server stops answering.
    pub(super) async fn silent(&self) {
        let mut silent = self.0.silent.subscribe();
        // `wait_for` cannot fail, because the sender lives as long as `self`.
        drop(silent.wait_for(|silent| *silent).await);
    }

    /// Waits for `work`. Stops if the server is silent or becomes silent. A message that was already sent may still
    /// arrive.
    ///
    /// # Errors
    /// [`Silent`] if the server does not answer.
    pub(super) async fn unless_silent<T>(&self, work: impl Future<Output = T>) -> Result<T, Silent> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.silent() => Err(Silent),
        }
    }
}

async fn watch_over(client: Client, beat: Weak<Beat>) {
    let mut missed = 0;
    loop {
        tokio::time::sleep(EVERY).await;
        let request = Request::new().payload(Bytes::new()).timeout(Some(ANSWER));
        let is_connected = client.connection_state() == State::Connected;
        let answered = match client.send_request(names::NOBODY, request).await {
            Ok(_) => true,
            Err(error) => error.kind() == RequestErrorKind::NoResponders,
        };
        let is_lost = !is_connected || client.connection_state() != State::Connected;
        missed = match answered {
            true => 0,
            // The client library handles a lost connection, unless it closed the connection because the server was
            // silent.
            false if is_lost && missed < MISSED => 0,
            false => missed.saturating_add(1),
        };
        let Some(beat) = beat.upgrade() else { return };
        let changed = beat.silent.send_if_modified(|silent| std::mem::replace(silent, missed >= MISSED) != *silent);
        if changed {
            tracing::warn!(
                silent = missed >= MISSED,
                "the state of NATS changed: it stopped answering or answers again"
            );
        }
    }
}
