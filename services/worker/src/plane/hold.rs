//! The right to bring an upload's next bytes: whoever comes later takes it, through any gateway and any worker.
//!
//! The holder listens on a core subject of the upload. A newcomer sends a request there: without a holder NATS says at
//! once that nobody listens; with one the answer comes when the holder has stored, and said in the log, what it has. A
//! newcomer that brings bytes itself says from which offset on; what the holder has of those is not stored.

use async_nats::{Client, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};
use waybill_schema::{UploadId, names};

/// The upload is held until the value is dropped.
pub(super) struct Hold {
    eviction: Eviction,
    _released: DropGuard,
}

/// That somebody newer came, and what is known of them.
#[derive(Clone)]
pub(crate) struct Eviction {
    came: CancellationToken,
    goes_on_at: Arc<AtomicU64>,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { came: CancellationToken::new(), goes_on_at: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl Eviction {
    /// Until somebody newer came.
    pub(super) async fn came(&self) {
        self.came.cancelled().await;
    }

    /// Whether whoever came brings the bytes from `offset` on again: they were told that offset, and it is to stay.
    pub(super) fn goes_on_at(&self, offset: u64) -> bool {
        self.goes_on_at.load(Ordering::Relaxed) == offset
    }

    fn tell(&self, message: &[u8]) {
        if let Some(offset) = str::from_utf8(message).ok().and_then(|text| text.parse().ok()) {
            self.goes_on_at.store(offset, Ordering::Relaxed);
        }
        self.came.cancel();
    }
}

impl Hold {
    /// Takes it. Older holders are told by the gateway, before.
    pub(super) async fn take(client: &Client, upload: UploadId) -> Result<Self, SubscribeError> {
        let requests = client.subscribe(names::takeover_subject(upload)).await?;
        let (eviction, released) = (Eviction::default(), CancellationToken::new());
        tokio::spawn(listen(client.clone(), requests, eviction.clone(), released.clone()));
        Ok(Self { eviction, _released: released.drop_guard() })
    }

    /// Told when somebody else wants it.
    pub(super) fn eviction(&self) -> Eviction {
        self.eviction.clone()
    }
}

/// Tells of newcomers while the upload is held, and answers them after that. One whose request is still on its way then
/// asks again.
async fn listen(client: Client, mut requests: Subscriber, eviction: Eviction, released: CancellationToken) {
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            () = released.cancelled() => break,
            request = requests.next() => match request {
                Some(request) => {
                    eviction.tell(&request.payload);
                    waiting.push(request);
                }
                None => break,
            },
        }
    }
    drop(requests);
    for reply in waiting.into_iter().filter_map(|request| request.reply) {
        if let Err(error) = client.publish(reply, Bytes::new()).await {
            tracing::debug!(%error, "a newer request was not answered");
        }
    }
}
