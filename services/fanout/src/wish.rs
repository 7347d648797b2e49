//! Request of a client for a subscription. The connection becomes a watcher before the snapshot is taken, so that it
//! misses no event.

use crate::access::{limited_to, may_watch};
use crate::fanout::{Fanout, Turn};
use crate::hub::Watcher;
use crate::outbox::Outbox;
use crate::snapshot;
use crate::taken::{Snapshot, Taken};
use std::sync::Arc;
use waybill_api::frames::{Refusal, Topic};
use waybill_event_log::ReadError;
use waybill_http_kit::Principal;
use waybill_schema::{CompanyId, Entity, Subject, UploadId};

/// Request of one connection for a subscription to one topic.
pub(crate) struct Wish {
    /// Id that the client chose for the subscription.
    pub(crate) id: u64,
    /// Number that distinguishes this request from later ones under the same id.
    pub(crate) number: u64,
    pub(crate) topic: Topic,
    /// Number of the connection.
    pub(crate) conn: u64,
    pub(crate) principal: Principal,
    pub(crate) outbox: Arc<Outbox>,
}

impl Wish {
    /// Handles the request in a separate task, and puts the result into the outbox of the connection.
    pub(crate) fn begin(self, fanout: Arc<Fanout>) {
        actix_web::rt::spawn(async move {
            let turn = fanout.turn().await;
            if self.outbox.has_ended() {
                return;
            }
            // The box keeps a request small while it waits for its permit.
            let outcome = Box::pin(self.take(&fanout, turn)).await;
            let Self { id, number, topic, conn, principal, outbox } = self;
            if !outbox.hand_over(Taken { id, wish: number, topic, outcome }) {
                // The connection has ended meanwhile. It did not know about this topic and did not stop watching it.
                fanout.hub.unwatch(principal.company_id, topic, conn);
            }
        });
    }

    async fn take<'a>(&self, fanout: &'a Fanout, turn: Turn<'a>) -> Result<Snapshot, Refusal> {
        let Self { topic, principal, .. } = self;
        let allowed = may_watch(fanout, principal, *topic).await.map_err(unavailable)?;
        let allowed = allowed.ok_or(Refusal::NotFound)?;
        let (outbox, user_id) = (self.outbox.clone(), limited_to(principal));
        let watcher = Watcher { conn: self.conn, outbox, since: allowed.since, user_id };
        let handed_out = fanout.hub.watch(principal.company_id, *topic, watcher);
        // The client may have lost access before the connection became a watcher. Then no recheck reaches it, so check
        // again.
        if may_watch(fanout, principal, *topic).await.map_err(unavailable)?.is_none() {
            return Err(Refusal::NotFound);
        }
        // The snapshot must contain all events about the topic that were delivered before.
        let about = match topic {
            Topic::Upload(upload) => last_event(fanout, principal.company_id, *upload).await.map_err(unavailable)?,
            _ => handed_out,
        };
        let at_least = allowed.read_to.max(about);
        let taken = snapshot::take(fanout, turn, principal, *topic, at_least).await;
        taken.map_err(unavailable)?.ok_or(Refusal::Lagging)
    }
}

/// Returns the refusal of a subscription that the fan-out cannot decide at the moment. The client can ask again.
fn unavailable<E>(_: E) -> Refusal {
    Refusal::Unavailable
}

/// Returns the sequence of the last event about an upload and its file, or 0.
async fn last_event(fanout: &Fanout, company: CompanyId, upload: UploadId) -> Result<u64, ReadError> {
    let mut last = 0;
    for aggregate in [Entity::UploadLifecycle, Entity::UploadChunks, Entity::File] {
        let event = fanout.repository.log().last(Subject::new(company, aggregate(upload))).await?;
        last = last.max(event.map_or(0, |event| event.position.seq));
    }
    Ok(last)
}
