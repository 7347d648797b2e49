//! The right to bring an upload's next bytes: whoever comes later takes it, through any gateway and any worker.
//!
//! The holder listens on a core subject of the upload. A newcomer sends a request there: without a holder NATS says at
//! once that nobody listens; with one the answer comes when the holder has stored, and said in the log, what it has.

use async_nats::{Client, Message, SubscribeError};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use waybill_schema::{UploadId, names};

pub(super) struct Hold {
    client: Client,
    evicted: CancellationToken,
    released: CancellationToken,
    listening: JoinHandle<Vec<Message>>,
}

impl Hold {
    /// Takes it. Older holders are told by the gateway, before.
    pub(super) async fn take(client: &Client, upload: UploadId) -> Result<Self, SubscribeError> {
        let mut requests = client.subscribe(names::takeover_subject(upload)).await?;
        let (evicted, released) = (CancellationToken::new(), CancellationToken::new());
        let (tell, until) = (evicted.clone(), released.clone());
        let listening = tokio::spawn(async move {
            let mut waiting = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    request = requests.next() => match request {
                        Some(request) => {
                            tell.cancel();
                            waiting.push(request);
                        }
                        None => return waiting,
                    },
                    () = until.cancelled() => return waiting,
                }
            }
        });
        Ok(Self { client: client.clone(), evicted, released, listening })
    }

    /// Cancelled when somebody else wants it.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// Lets it go, and says so to whoever waits.
    pub(super) async fn release(self) {
        self.released.cancel();
        let Ok(waiting) = self.listening.await else { return };
        for reply in waiting.into_iter().filter_map(|request| request.reply) {
            // Whoever waits looks by itself after a while.
            if let Err(error) = self.client.publish(reply, bytes::Bytes::new()).await {
                tracing::debug!(%error, "a newer request was not answered");
            }
        }
    }
}
