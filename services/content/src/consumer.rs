//! Receives the events of a partition for one step of the pipeline.

use futures_util::StreamExt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Delivery, Passing, Reactions};
use waybill_schema::Recorded;
use waybill_service_kit::Shutdown;
use waybill_service_kit::pause::growing;

/// Maximum number of events in one pull, and of events that are in work or wait for a place.
const PULLED: usize = 64;
const IN_WORK: usize = 256;
/// Pause before the next delivery of an event for which there was no place, and its longest value.
const NO_PLACE: Duration = Duration::from_millis(250);
const NO_PLACE_AT_MOST: Duration = Duration::from_secs(8);
/// Pause before the next delivery of an event after a failure, and its longest value.
const FAILED: Duration = Duration::from_millis(500);
const FAILED_AT_MOST: Duration = Duration::from_secs(30);
/// Interval in which a running step reports progress to NATS. It is well below the `ack_wait` of the consumer.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Time for which a process that shuts down waits for its work. Another process repeats what takes longer.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Result of a step for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The event needs no more work.
    Done,
    /// Other files take all places.
    NoPlace,
    /// It is too early.
    NotYet(Duration),
    /// The step failed and logged why.
    Failed,
}

/// One step of the pipeline, which reacts to events of files.
pub(crate) trait Step: Send + Sync + 'static {
    /// The consumer of its events.
    const CONSUMER: Passing;

    /// Waits until the step is possible, so that events are not delivered in vain.
    fn possible(&self) -> impl Future<Output = ()> + Send;

    /// Reacts to an event that was delivered `attempt` times.
    fn react(&self, recorded: &Recorded, attempt: i64) -> impl Future<Output = Outcome> + Send;
}

/// Has a step react to the events of a partition until shutdown, while `is_on` says that it has a purpose.
pub(crate) async fn run<S: Step>(
    nats: async_nats::Client,
    step: Arc<S>,
    partition: u32,
    is_on: watch::Receiver<bool>,
    shutdown: Shutdown,
) {
    let consumer = S::CONSUMER.durable();
    let slots = Arc::new(Semaphore::new(IN_WORK));
    while !shutdown.is_triggered() {
        let followed = follow(&nats, &step, partition, &slots, is_on.clone());
        if let Some(Err(error)) = shutdown.unless(followed).await {
            tracing::warn!(consumer, partition, %error, "cannot receive the events of files; will try again");
            shutdown.unless(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    }
    let all = u32::try_from(IN_WORK).unwrap_or(u32::MAX);
    if tokio::time::timeout(FINISH_WITHIN, slots.acquire_many(all)).await.is_err() {
        tracing::info!(consumer, partition, "unfinished work is left to other processes");
    }
}

async fn follow<S: Step>(
    nats: &async_nats::Client,
    step: &Arc<S>,
    partition: u32,
    slots: &Arc<Semaphore>,
    mut is_on: watch::Receiver<bool>,
) -> Result<(), ReadError> {
    // The sender lives as long as the role.
    while is_on.wait_for(|is_on| *is_on).await.is_ok() {
        Reactions::create(nats, S::CONSUMER, partition).await?;
        let events = Reactions::open(nats, S::CONSUMER.durable(), partition).await?;
        while *is_on.borrow() {
            step.possible().await;
            let Ok(mut free) = slots.clone().acquire_owned().await else { return Ok(()) };
            let more = slots.available_permits().min(PULLED - 1);
            if let Ok(more) = slots.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
                free.merge(more);
            }
            let mut deliveries = events.pull(free.num_permits()).await?;
            while let Some(delivery) = deliveries.next().await {
                let (delivery, slot, step) = (delivery?, free.split(1), step.clone());
                tokio::spawn(async move {
                    if let Err(error) = handle(step.as_ref(), &delivery).await {
                        let position = delivery.stored.position;
                        tracing::warn!(%position, %error, "cannot acknowledge an event; it will be delivered again");
                    }
                    drop(slot);
                });
            }
        }
        Reactions::delete(nats, S::CONSUMER, partition).await?;
    }
    Ok(())
}

/// Has a step react to an event, and acknowledges the event or asks for another delivery.
async fn handle<S: Step>(step: &S, delivery: &Delivery) -> Result<(), ReadError> {
    // An event that this version cannot read is of a newer one, and no event that a step reacts to.
    let Ok(recorded) = &delivery.stored.event else { return delivery.done().await };
    let work = step.react(recorded, delivery.attempt);
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            () = tokio::time::sleep(PROGRESS_EVERY) => {
                if let Err(error) = delivery.in_progress().await {
                    tracing::warn!(position = %recorded.position, %error, "cannot report progress to NATS");
                }
            }
        }
    };
    match outcome {
        Outcome::Done => delivery.done().await,
        Outcome::NoPlace => delivery.again_in(growing(NO_PLACE, NO_PLACE_AT_MOST, delivery.attempt)).await,
        Outcome::NotYet(pause) => delivery.again_in(pause).await,
        Outcome::Failed => delivery.again_in(growing(FAILED, FAILED_AT_MOST, delivery.attempt)).await,
    }
}
