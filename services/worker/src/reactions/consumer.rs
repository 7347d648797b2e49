//! Receives the events of a partition and runs their reactions: as many at once as there are slots, with retries, and parked if
//! they fail again and again.

use super::ReactionError;
use super::dispatch::react;
use crate::{Worker, parked};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_domain::reaction::reaction_to;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Delivery, Reactions};
use waybill_schema::names;
use waybill_service_kit::Shutdown;
use waybill_service_kit::pause::growing;
use waybill_service_kit::places::{Place, Places};

/// Maximum number of concurrent reactions in one partition.
const CONCURRENCY: usize = 256;
/// Maximum number of events in one pull.
const PULLED: usize = 64;
/// First and longest pause before the next delivery of an event whose reaction found no place.
const NO_PLACE: Duration = Duration::from_millis(500);
const NO_PLACE_AT_MOST: Duration = Duration::from_secs(8);
/// Interval in which a running reaction reports progress to NATS. It is well below the `ack_wait` of the consumer.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Time for which a worker that shuts down waits for its reactions. Reading back a large object takes longer; another
/// worker then repeats the reaction.
const FINISH_WITHIN: Duration = Duration::from_secs(15);
/// Longest pause before a failed reaction is retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reacts to the events of a partition until shutdown, and then waits for the running reactions.
pub(crate) async fn run(worker: Arc<Worker>, client: async_nats::Client, partition: u32, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let places = Places::new(CONCURRENCY);
    while !shutdown.is_triggered() {
        let opened = Reactions::open(&client, names::REACTIONS_DURABLE, partition).await;
        let failed = match opened {
            Ok(reactions) => loop {
                let started = async {
                    let free = free_slots(&slots).await;
                    start_some(&worker, &reactions, free, &places).await
                };
                match shutdown.unless(started).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            },
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            tracing::warn!(partition, %error, "cannot receive events to react to; will try again");
            shutdown.unless(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    }
    let all = u32::try_from(CONCURRENCY).unwrap_or(u32::MAX);
    match tokio::time::timeout(FINISH_WITHIN, slots.acquire_many(all)).await {
        Ok(_) => tracing::debug!(partition, "reactions ended"),
        Err(_) => tracing::info!(partition, "unfinished reactions are left to other workers"),
    }
}

/// Waits for a free slot, and takes all free slots up to [`PULLED`].
async fn free_slots(slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    let mut free = slots.clone().acquire_owned().await.ok()?;
    let more = slots.available_permits().min(PULLED - 1);
    if let Ok(more) = slots.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
        free.merge(more);
    }
    Some(free)
}

/// Pulls as many events as there are free slots, and starts their reactions.
async fn start_some(
    worker: &Arc<Worker>,
    reactions: &Reactions,
    free: Option<OwnedSemaphorePermit>,
    places: &Arc<Places>,
) -> Result<(), ReadError> {
    let Some(mut free) = free else { return Ok(()) };
    let mut deliveries = reactions.pull(free.num_permits()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let slot = free.split(1);
        let place = match &delivery.stored.event {
            Ok(recorded) if reaction_to(&recorded.event).is_some() => places.take(recorded.subject.company).map(Some),
            _ => Some(None),
        };
        let worker = worker.clone();
        tokio::spawn(async move {
            match place {
                Some(_) if worker.is_long_without_place(&delivery) => {
                    answered(&delivery, delivery.again_in(growing(NO_PLACE, NO_PLACE_AT_MOST, delivery.attempt)).await);
                }
                Some(place) => react_to(&worker, delivery, place).await,
                None => answered(&delivery, delivery.again_in(NO_PLACE).await),
            }
            drop(slot);
        });
    }
    Ok(())
}

impl Worker {
    /// Returns `true` if a long reaction found no place before and would find none now, so that it need not begin.
    fn is_long_without_place(&self, delivery: &Delivery) -> bool {
        let Ok(recorded) = &delivery.stored.event else { return false };
        self.waiting.contains_key(&recorded.position) && !self.long.is_free_for(recorded.subject.company)
    }
}

/// Returns `true` if an event was delivered so often that its reaction must be parked, even if each of many workers has
/// seen only few of its failures.
fn is_delivered_often(worker: &Worker, delivery: &Delivery) -> bool {
    delivery.attempt >= worker.settings.park_after_attempts.saturating_mul(10)
}

fn answered(delivery: &Delivery, answered: Result<(), ReadError>) {
    if let Err(error) = answered {
        let position = delivery.stored.position;
        tracing::warn!(%position, %error, "cannot acknowledge an event; it will be delivered again");
    }
}

/// Reacts to one event, and acknowledges it, parks it or asks for another delivery.
async fn react_to(worker: &Worker, delivery: Delivery, place: Option<Place>) {
    let position = delivery.stored.position;
    let reaction = delivery.stored.event.as_ref().map(|recorded| (recorded, reaction_to(&recorded.event)));
    let outcome = match reaction {
        Ok((recorded, Some(reaction))) => {
            let work = react(worker, recorded, reaction);
            tokio::pin!(work);
            let outcome = loop {
                tokio::select! {
                    outcome = &mut work => break outcome,
                    () = tokio::time::sleep(PROGRESS_EVERY) => {
                        if let Err(error) = delivery.in_progress().await {
                            tracing::warn!(%position, %error, "cannot report progress of a reaction");
                        }
                    }
                }
            };
            match outcome {
                Ok(()) => {
                    worker.failures.forget(position);
                    delivery.done().await
                }
                Err(ReactionError::NoPlace) => {
                    worker.waiting.insert(&position, ());
                    delivery.again_in(growing(NO_PLACE, NO_PLACE_AT_MOST, delivery.attempt)).await
                }
                Err(error) => match worker.failures.count(position) {
                    failures
                        if failures >= worker.settings.park_after_attempts || is_delivered_often(worker, &delivery) =>
                    {
                        worker.failures.forget(position);
                        set_aside(worker, &delivery, &error.to_string(), failures).await
                    }
                    failures => {
                        let pause = pause_after(failures);
                        let pause_ms = pause.as_millis();
                        tracing::warn!(%position, %error, pause_ms, "a reaction failed; will try again");
                        delivery.again_in(pause).await
                    }
                },
            }
        }
        Err(error) if parked::is_of_newer(&delivery.stored) => {
            set_aside(worker, &delivery, &error.to_string(), 1).await
        }
        // No version can read the event, or no reaction is needed. The projector reports unreadable events.
        _ => delivery.done().await,
    };
    drop(place);
    answered(&delivery, outcome);
}

/// Parks a reaction, so that others need not wait for it. If this fails, the event is delivered again.
async fn set_aside(worker: &Worker, delivery: &Delivery, reason: &str, attempts: i64) -> Result<(), ReadError> {
    match parked::park(worker, &delivery.stored, reason, attempts).await {
        Ok(()) => delivery.done().await,
        Err(error) => {
            tracing::warn!(position = %delivery.stored.position, %error, "cannot park a reaction");
            delivery.again_in(LONGEST_PAUSE).await
        }
    }
}

fn pause_after(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(0, 10)).unwrap_or(10);
    Duration::from_millis(100).saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}
