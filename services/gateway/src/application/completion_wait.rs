//! Waits until an upload has ended.

use crate::application::gateway::Gateway;
use crate::http::problems::OrProblem;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::upload;
use waybill_http_kit::Problem;
use waybill_repository::{Aggregate, Loaded, UploadAggregate};

/// Time for which the response to a completion waits for the verification, in protocols without `Prefer: wait`.
pub(crate) const FOR_VERIFICATION: Duration = Duration::from_secs(20);

/// Interval at which the log is read even without a message, because messages can be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Refreshes `loaded` until the upload has ended or `patience` has passed. Does not wait if too many requests of the
/// uploader or the company wait: a preference to wait need not be met (RFC 7240 §4.3).
pub(crate) async fn until_ended(
    gateway: &Gateway,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    patience: Duration,
) -> Result<(), Problem> {
    let unavailable = |error: async_nats::SubscribeError| {
        tracing::warn!(%error, "cannot subscribe to the subject of an upload");
        Problem::unavailable("the event log does not answer; try again")
    };
    let uploader = loaded.state.started.as_ref().map(|started| started.uploaded_by);
    let slot = gateway.at_once.wait(aggregate.company, uploader);
    let patience = if slot.is_some() { patience } else { Duration::ZERO };
    let subject = aggregate.subject().to_nats(gateway.log.partitions());
    // Subscribe before the first read, so that no event is missed between the two.
    let mut events = gateway.nats.subscribe(subject).await.map_err(unavailable)?;
    let until = Instant::now() + patience;
    loop {
        gateway.repository.refresh(aggregate, loaded).await.or_problem("waiting for an upload")?;
        let left = until.saturating_duration_since(Instant::now());
        if loaded.state.has_ended() || left.is_zero() {
            return Ok(());
        }
        // Read the log after a message as well as after the interval.
        drop(tokio::time::timeout(left.min(LOOK_EVERY), events.next()).await);
    }
}
