//! Takeover of an upload: a newer request ends the older ones that send bytes of the same upload.

use crate::application::append_order::Held;
use crate::application::gateway::Gateway;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use waybill_event_log::Asked;
use waybill_http_kit::Problem;
use waybill_schema::{UploadId, names};

/// Time for which a newer request waits for older ones to store the bytes that they have received.
const TAKEOVER: Duration = Duration::from_secs(2);

/// Interval at which an older request that still runs is asked again to stop.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Timeout of a worker's answer. The answer is lost if the worker releases the upload at that moment.
const ANSWER: Duration = Duration::from_millis(200);

/// Time for which a request waits for an answer of NATS itself if the takeover was not answered.
const DELIVERED: Duration = Duration::from_secs(6);

impl Gateway {
    /// Ends older requests that send bytes of the upload, on all gateways. After it returns, the bytes that they have
    /// sent are stored, unless the requests did not stop within [`TAKEOVER`]. A caller that sends bytes itself passes
    /// its turn and the offset at which its bytes begin.
    ///
    /// # Errors
    ///
    /// 503 `unavailable` if NATS does not answer: NATS could deliver the messages later, which would end the new
    /// request.
    pub(crate) async fn take_over(&self, upload: UploadId, own: Option<(&Held, u64)>) -> Result<(), Problem> {
        let older = self.turns.before(upload, own.map(|(turn, _)| turn));
        let goes_on_at = bytes::Bytes::from(own.map_or_else(String::new, |(_, offset)| offset.to_string()));
        older.iter().for_each(|turn| turn.supersede());
        let is_asked = AtomicBool::new(false);
        let give_way = || async {
            loop {
                // If no worker holds the upload, NATS answers immediately. A request on its way to a worker is not
                // subscribed yet, so the question is repeated.
                is_asked.fetch_or(self.signals.is_connected(), Ordering::Relaxed);
                if !self.is_answered(names::takeover_subject(upload), goes_on_at.clone()).await {
                    continue;
                }
                if older.iter().all(|turn| turn.is_done()) {
                    return;
                }
                let done = async {
                    for turn in &older {
                        turn.done().await;
                    }
                };
                drop(tokio::time::timeout(ASK_AGAIN, done).await);
            }
        };
        let silent = || Problem::unavailable("NATS does not answer; try again");
        for _ in 0..2 {
            tokio::select! {
                given = tokio::time::timeout(TAKEOVER, give_way()) => if given.is_ok() { return Ok(()) },
                () = self.log.silent() => return Err(silent()),
            }
            // NATS keeps the order of the messages of a connection. After this answer, all earlier messages were
            // delivered.
            let delivered = async { while !self.is_answered(names::NOBODY.to_owned(), bytes::Bytes::new()).await {} };
            tokio::select! {
                delivered = tokio::time::timeout(DELIVERED, delivered) => if delivered.is_err() { return Err(silent()) },
                () = self.log.silent() => return Err(silent()),
            }
            // If the connection to NATS was down, the worker has not received the message yet: repeat.
            if is_asked.load(Ordering::Relaxed) {
                break;
            }
        }
        tracing::warn!(upload_id = %upload, "an older request for the upload did not stop in time");
        Ok(())
    }

    /// Asks on a subject. Returns `true` if there is an answer within [`ANSWER`], or nobody listens. Without a
    /// connection it sends nothing, because the question would be delivered after the reconnection, possibly long after
    /// the caller has ended.
    async fn is_answered(&self, subject: String, payload: bytes::Bytes) -> bool {
        if self.signals.is_connected() && self.signals.ask(subject, payload, ANSWER).await != Asked::Unanswered {
            return true;
        }
        tokio::time::sleep(ASK_AGAIN).await;
        false
    }
}
