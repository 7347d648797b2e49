//! Finds out whether a server answers at all. A server that hangs keeps its connections. Each request would wait for its whole
//! timeout, and many of them one after the other. So one task asks a question that costs nothing, for all of them.
//!
//! A connection that is lost is another thing: the client library notices, and reconnects within moments; requests wait for
//! that as long as they did before.

use async_nats::connection::State;
use async_nats::{Client, Request, RequestErrorKind, Statistics};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use waybill_schema::names;

/// How often it is asked, and how long an answer may take. It does not wait behind other requests: the server answers it
/// without looking into a stream.
const EVERY: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_millis(250);
/// After how many questions without an answer in a row the server counts as silent: 0.75 to 0.95 s.
const MISSED: u32 = 3;

/// By the address of a connection's statistics, which all clones of a client share.
static PULSES: LazyLock<Mutex<HashMap<usize, Weak<Beat>>>> = LazyLock::new(Mutex::default);

struct Beat {
    silent: watch::Sender<bool>,
    /// Keeps the address taken.
    _connection: Arc<Statistics>,
}

/// Watches the server of a connection.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Beat>);

/// The server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NATS does not answer")]
pub(super) struct Silent;

impl Pulse {
    /// That of a client; all clones of it share one.
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

    /// Waits until the server does not answer.
    pub(super) async fn silent(&self) {
        let mut silent = self.0.silent.subscribe();
        // The sender lives as long as the value.
        drop(silent.wait_for(|silent| *silent).await);
    }

    /// Waits for `work`, unless the server is silent or becomes silent. A message that was sent may still arrive.
    ///
    /// # Errors
    /// [`Silent`].
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
            // A lost connection is the client library's, but for one that it gave up because the server was silent.
            false if is_lost && missed < MISSED => 0,
            false => missed.saturating_add(1),
        };
        let Some(beat) = beat.upgrade() else { return };
        let changed = beat.silent.send_if_modified(|silent| std::mem::replace(silent, missed >= MISSED) != *silent);
        if changed {
            tracing::warn!(silent = missed >= MISSED, "NATS stopped answering, or answers again");
        }
    }
}
