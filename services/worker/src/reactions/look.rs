//! Looks for the objects of direct uploads that this worker awaits.

use super::{ReactionError, advance};
use crate::Worker;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use waybill_repository::UploadAggregate;
use waybill_schema::{Causation, UploadId};
use waybill_service_kit::Shutdown;

/// Time between two searches for objects that are due.
const TICK: Duration = Duration::from_millis(250);
/// Number of objects that are looked for in parallel. Long copies have places of their own.
const LOOKS: usize = 64;

/// Looks for the objects that this worker awaits, until shutdown.
pub(crate) async fn look_for_objects(worker: Arc<Worker>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut looks, mut looked_for) = (FuturesUnordered::new(), HashSet::new());
    loop {
        tokio::select! {
            () = shutdown.triggered() => return,
            Some(upload) = looks.next() => {
                looked_for.remove(&upload);
            }
            _ = tick.tick() => {
                for (aggregate, causation) in worker.awaited.due() {
                    if looks.len() < LOOKS && looked_for.insert(aggregate.upload) {
                        looks.push(look(&worker, aggregate, causation));
                    }
                }
            }
        }
    }
}

async fn look(worker: &Worker, aggregate: UploadAggregate, causation: Causation) -> UploadId {
    match advance(worker, aggregate.company, aggregate.upload, causation).await {
        Ok(()) => {}
        Err(ReactionError::NoPlace) => worker.awaited.again(&aggregate, causation),
        Err(error) => {
            tracing::warn!(upload_id = %aggregate.upload, %error, "cannot take over an object; will try again");
            worker.awaited.again(&aggregate, causation);
        }
    }
    aggregate.upload
}
