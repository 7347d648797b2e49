//! The right to write the next bytes of an upload. A newer request takes it over, through any gateway and any worker.
//!
//! The holder subscribes to a core NATS subject of the upload. A newer request sends a message to this subject. Without
//! a holder, NATS answers immediately that there is no subscriber. Otherwise the answer comes after the holder has
//! stored its bytes and recorded them in the log. A newer request that carries bytes itself sends the offset at which
//! they begin. If the holder is reading a part at that same offset, it does not store these bytes.

use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};
use waybill_event_log::{Questions, SignalError, Signals};
use waybill_schema::{UploadId, names};

/// WriterLease on an upload, released when the value is dropped.
pub(super) struct WriterLease {
    eviction: Eviction,
    _released: DropGuard,
}

/// Signal that a newer request has arrived, and the offset at which it continues.
#[derive(Clone)]
pub(crate) struct Eviction {
    came: CancellationToken,
    resumes_at: Arc<AtomicU64>,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { came: CancellationToken::new(), resumes_at: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

impl Eviction {
    /// Waits until a newer request has arrived.
    pub(super) async fn came(&self) {
        self.came.cancelled().await;
    }

    /// Returns `true` if the newer request sends the bytes from `offset` on again. Its client knows this offset,
    /// so the offset must not move.
    pub(super) fn resumes_at(&self, offset: u64) -> bool {
        self.resumes_at.load(Ordering::Relaxed) == offset
    }

    fn tell(&self, message: &[u8]) {
        if let Some(offset) = str::from_utf8(message).ok().and_then(|text| text.parse().ok()) {
            self.resumes_at.store(offset, Ordering::Relaxed);
        }
        self.came.cancel();
    }
}

impl WriterLease {
    /// Takes the hold. The gateway has notified older holders before.
    pub(super) async fn take(signals: &dyn Signals, upload: UploadId) -> Result<Self, SignalError> {
        let requests = signals.listen(names::takeover_subject(upload)).await?;
        let (eviction, released) = (Eviction::default(), CancellationToken::new());
        tokio::spawn(listen(requests, eviction.clone(), released.clone()));
        Ok(Self { eviction, _released: released.drop_guard() })
    }

    /// Returns the signal that a newer request wants the hold.
    pub(super) fn eviction(&self) -> Eviction {
        self.eviction.clone()
    }
}

/// Signals newer requests while the upload is held, and answers them after the release. A request whose message is
/// still on its way at that time asks again.
async fn listen(mut requests: Questions, eviction: Eviction, released: CancellationToken) {
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
    for request in waiting {
        request.answer().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use waybill_event_log::{Asked, MemorySignals};

    /// Longer than any test takes.
    const WITHIN: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_newer_request_waits_until_the_older_one_has_released_the_upload() {
        let (signals, upload) = (MemorySignals::default(), UploadId(uuid::Uuid::nil()));
        let ask = |offset: &'static str| signals.ask(names::takeover_subject(upload), Bytes::from(offset), WITHIN);
        assert_eq!(ask("").await, Asked::NobodyListens);

        let lease = WriterLease::take(&signals, upload).await.unwrap();
        let eviction = lease.eviction();
        let release = async {
            eviction.came().await;
            assert!(eviction.resumes_at(7) && !eviction.resumes_at(8));
            drop(lease);
        };
        let mut newer = ask("7");
        assert!(futures_util::poll!(&mut newer).is_pending());
        assert_eq!(tokio::join!(newer, release).0, Asked::Answered);
        assert_eq!(ask("7").await, Asked::NobodyListens);
    }
}
