//! Receives the verified files of a partition and scans those whose company wants it.

use crate::clamd::ClamdError;
use crate::content::Content;
use crate::metrics;
use crate::scan::{ScanError, Turn, scan_file};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Delivery, Reactions};
use waybill_schema::events::UploadEvent;
use waybill_schema::{Causation, Entity, Event, FileId, Recorded, ScanPolicy, names};
use waybill_service_kit::Shutdown;
use waybill_service_kit::places::Place;

/// Maximum number of events in one pull, and of events that are in work or wait for a place.
const PULLED: usize = 64;
const IN_WORK: usize = 256;
/// Pause before the next delivery of an event for which there was no place, and its longest value.
const NO_PLACE: Duration = Duration::from_millis(250);
const NO_PLACE_AT_MOST: Duration = Duration::from_secs(8);
/// Pause before the next delivery of an event after a failure, and its longest value.
const FAILED: Duration = Duration::from_millis(500);
const FAILED_AT_MOST: Duration = Duration::from_secs(30);
/// Number of deliveries after which an event is left to the search, if its file cannot be read.
const ATTEMPTS_MAX: i64 = 100;
/// Interval in which a running scan reports progress to NATS. It is well below the `ack_wait` of the consumer.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Interval in which a clamd that cannot scan is asked again.
const ASK_CLAMD_EVERY: Duration = Duration::from_secs(1);
/// Time for which a process that shuts down waits for its scans. Another process repeats those that take longer.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Scans new files of a partition until shutdown, while `is_on` says that a company has its files scanned.
pub(crate) async fn run(content: Arc<Content>, partition: u32, is_on: watch::Receiver<bool>, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(IN_WORK));
    while !shutdown.is_triggered() {
        let followed = follow(&content, partition, &slots, is_on.clone());
        if let Some(Err(error)) = shutdown.unless(followed).await {
            tracing::warn!(partition, %error, "cannot receive verified files; will try again");
            shutdown.unless(tokio::time::sleep(Duration::from_secs(1))).await;
        }
    }
    let all = u32::try_from(IN_WORK).unwrap_or(u32::MAX);
    if tokio::time::timeout(FINISH_WITHIN, slots.acquire_many(all)).await.is_err() {
        tracing::info!(partition, "unfinished scans are left to other processes");
    }
}

async fn follow(
    content: &Arc<Content>,
    partition: u32,
    slots: &Arc<Semaphore>,
    mut is_on: watch::Receiver<bool>,
) -> Result<(), ReadError> {
    // The sender lives as long as the role.
    while is_on.wait_for(|is_on| *is_on).await.is_ok() {
        Reactions::create_scans(&content.nats, partition).await?;
        let verified = Reactions::open(&content.nats, names::SCANS_DURABLE, partition).await?;
        while *is_on.borrow() {
            wait_for_clamd(content).await;
            let Ok(mut free) = slots.clone().acquire_owned().await else { return Ok(()) };
            let more = slots.available_permits().min(PULLED - 1);
            if let Ok(more) = slots.clone().try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
                free.merge(more);
            }
            let mut deliveries = verified.pull(free.num_permits()).await?;
            while let Some(delivery) = deliveries.next().await {
                let (delivery, slot, content) = (delivery?, free.split(1), content.clone());
                tokio::spawn(async move {
                    if let Err(error) = handle(&content, &delivery).await {
                        let position = delivery.stored.position;
                        tracing::warn!(%position, %error, "cannot acknowledge an event; it will be delivered again");
                    }
                    drop(slot);
                });
            }
        }
        // Files that are verified from now on are not scanned. If a company wants it later, the search finds them.
        Reactions::delete_scans(&content.nats, partition).await?;
    }
    Ok(())
}

/// Waits until clamd can scan, so that events are not delivered in vain.
async fn wait_for_clamd(content: &Content) {
    if metrics::CLAMD_UP.get() == 1 {
        return;
    }
    while !content.clamd.can_scan().await {
        tokio::time::sleep(ASK_CLAMD_EVERY).await;
    }
    metrics::CLAMD_UP.set(1);
    tracing::info!("clamd can scan");
}

/// Returns the file that an event verifies.
fn verified_file(recorded: &Recorded) -> Option<FileId> {
    let Entity::UploadLifecycle(file) = recorded.subject.aggregate else { return None };
    let Event::Upload(UploadEvent::FileVerified(_) | UploadEvent::FileUploaded(_)) = &recorded.event else {
        return None;
    };
    Some(file)
}

/// Scans the file of an event, and acknowledges the event or asks for another delivery.
async fn handle(content: &Arc<Content>, delivery: &Delivery) -> Result<(), ReadError> {
    // An event that this version cannot read is of a newer one. The search finds its file.
    let Ok(recorded) = &delivery.stored.event else { return delivery.done().await };
    let Some(file) = verified_file(recorded) else { return delivery.done().await };
    let company = recorded.subject.company;
    match content.access.scan_rules(company).await {
        Ok(rules) if rules.policy == ScanPolicy::Off => return delivery.done().await,
        Ok(_) => {}
        Err(error) => {
            tracing::debug!(position = %recorded.position, %error, "cannot read the rules of a company");
            return delivery.again_in(growing(FAILED, FAILED_AT_MOST, delivery.attempt)).await;
        }
    }
    let Some(place) = content.places.take(company) else {
        return delivery.again_in(growing(NO_PLACE, NO_PLACE_AT_MOST, delivery.attempt)).await;
    };
    let scanned = with_progress(content, delivery, recorded, file, place).await;
    match scanned {
        Ok(()) => delivery.done().await,
        Err(ScanError::NoPlace) => delivery.again_in(growing(NO_PLACE, NO_PLACE_AT_MOST, delivery.attempt)).await,
        Err(error) if delivery.attempt >= ATTEMPTS_MAX && !is_of_clamd(&error) => {
            tracing::error!(position = %recorded.position, file_id = %file, %error, "a file cannot be scanned; the search tries again");
            delivery.done().await
        }
        Err(error) => {
            note_failure(&error);
            let pause = growing(FAILED, FAILED_AT_MOST, delivery.attempt);
            let pause_ms = pause.as_millis();
            tracing::warn!(position = %recorded.position, file_id = %file, %error, pause_ms, "a scan failed; will try again");
            delivery.again_in(pause).await
        }
    }
}

/// Has clamd checked before the next event if a scan failed because of it.
pub(crate) fn note_failure(error: &ScanError) {
    if is_of_clamd(error) {
        metrics::CLAMD_UP.set(0);
    }
}

/// Returns `true` if clamd is the reason of an error, or the bytes that it scanned.
pub(crate) fn is_of_clamd(error: &ScanError) -> bool {
    match error {
        ScanError::Clamd(ClamdError::Unreachable(_) | ClamdError::Broken(_) | ClamdError::Failed(_)) => true,
        ScanError::Clamd(ClamdError::Source(_))
        | ScanError::Log(_)
        | ScanError::Append(_)
        | ScanError::Tables(_)
        | ScanError::Store(_)
        | ScanError::NoPlace => false,
    }
}

/// Scans a file and reports to NATS meanwhile that it is in work.
async fn with_progress(
    content: &Content,
    delivery: &Delivery,
    recorded: &Recorded,
    file: FileId,
    _place: Place,
) -> Result<(), ScanError> {
    let causation = Causation::Event(recorded.position);
    let work = scan_file(content, Turn::New, recorded.subject.company, file, causation);
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            () = tokio::time::sleep(PROGRESS_EVERY) => {
                if let Err(error) = delivery.in_progress().await {
                    tracing::warn!(position = %recorded.position, %error, "cannot report the progress of a scan");
                }
            }
        }
    }
}

/// Returns the pause before the next attempt after `attempt` attempts.
fn growing(first: Duration, most: Duration, attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 10)).unwrap_or(10) - 1;
    first.saturating_mul(1 << doublings).min(most)
}
