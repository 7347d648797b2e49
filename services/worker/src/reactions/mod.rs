//! Reactions: the work that a worker does because of events. NATS delivers each event of a partition to a worker, and
//! again until a worker has acknowledged it. Every step of a reaction can be repeated without harm.

mod cleanup;
mod complete;
mod concatenate;
mod content;
mod places;
mod quarantine;
mod verify;

pub(crate) use places::{Place, Places};
pub(crate) use quarantine::{Awaited, clear, look_for_objects};

use crate::plane::{PlaneError, assemble_part};
use crate::{Worker, parked};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_access::AccessError;
use waybill_cache::Cache;
use waybill_domain::upload::{self, Command, Step};
use waybill_domain::{Refusal, session};
use waybill_event_log::jetstream::{Delivery, Reactions};
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::StoreError;
use waybill_read_model::{ReadModelError, projection, queries};
use waybill_repository::{ExecuteError, LifecycleAggregate, Loaded, SessionAggregate, UploadAggregate, execute, load};
use waybill_schema::events::{FileEvent, SessionEvent, SettledItem, UploadEvent, UploadKind};
use waybill_schema::{Aggregate, Causation, CompanyId, Event, Position, Recorded, SessionId, Timestamp, UploadId};
use waybill_service_kit::Shutdown;

/// Maximum number of concurrent reactions in one partition.
const CONCURRENCY: usize = 256;
/// Maximum number of events in one pull.
const PULLED: usize = 64;
/// Maximum number of a worker's reactions that read or write large objects. Other reactions never wait for them.
pub(crate) const LONG: usize = 32;
/// Number of bytes from which an object counts as large.
const LONG_BYTES: u64 = 8 * 1_024 * 1_024;
/// First and longest pause before the next delivery of an event whose reaction found no place.
const NO_PLACE: Duration = Duration::from_millis(500);
const NO_PLACE_AT_MOST: Duration = Duration::from_secs(8);
/// Interval in which a running reaction reports progress to NATS. It is well below the `ack_wait` of the consumer.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Time for which a worker that shuts down waits for its reactions. Reading back a large object takes longer; another
/// worker then repeats the reaction.
const FINISH_WITHIN: Duration = Duration::from_secs(15);
/// Maximum number of events whose failures are counted: as many as the consumer can have unacknowledged. And the time
/// after the last failure for which a count is kept.
const FAILURES_KEPT: u64 = 16_384;
const FAILURES_KEPT_FOR: Duration = Duration::from_secs(600);
/// Longest pause before a failed reaction is retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Reason why a reaction failed. It will be retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReactionError {
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    #[error("the projector has not reached the event yet")]
    ProjectionBehind,
    /// The company has as many long reactions as it may have now.
    #[error("the company cannot have another long reaction now")]
    NoPlace,
    /// Error of a batch of several files.
    #[error(transparent)]
    Together(#[from] Arc<ReactionError>),
}

/// Number of failures per event in this worker. A delivery that found no place does not count as a failure. Counts
/// expire, because another worker may succeed.
pub(crate) struct Failures(Cache<Position, i64>);

impl Default for Failures {
    fn default() -> Self {
        Self(Cache::builder(FAILURES_KEPT).time_to_idle(FAILURES_KEPT_FOR).build())
    }
}

impl Failures {
    /// Adds a failure and returns the number of failures.
    fn count(&self, position: Position) -> i64 {
        *self.0.upsert_with(&position, |known| known.map_or(0, |failures| *failures) + 1)
    }

    fn forget(&self, position: Position) {
        self.0.invalidate(&position);
    }
}

/// Reacts to the events of a partition until shutdown, and then waits for the running reactions.
pub(crate) async fn run(worker: Arc<Worker>, client: async_nats::Client, partition: u32, shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    let places = Places::new(CONCURRENCY);
    while !shutdown.is_triggered() {
        let opened = Reactions::open(&client, partition).await;
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
            Ok(recorded) if concerns_us(&recorded.event) => places.take(recorded.subject.company).map(Some),
            _ => Some(None),
        };
        let worker = worker.clone();
        tokio::spawn(async move {
            match place {
                Some(_) if worker.is_long_without_place(&delivery) => {
                    answered(&delivery, delivery.again_in(no_place_for(delivery.attempt)).await);
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
    delivery.attempt >= worker.park_after.saturating_mul(10)
}

/// Returns an empty set of events whose reactions wait for a place.
pub(crate) fn waiting() -> Cache<Position, ()> {
    Cache::builder(FAILURES_KEPT).time_to_idle(FAILURES_KEPT_FOR).build()
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
    let outcome = match &delivery.stored.event {
        Ok(recorded) if concerns_us(&recorded.event) => {
            let work = react(worker, recorded);
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
                    delivery.again_in(no_place_for(delivery.attempt)).await
                }
                Err(error) => match worker.failures.count(position) {
                    failures if failures >= worker.park_after || is_delivered_often(worker, &delivery) => {
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

/// Returns `true` if a worker reacts to this kind of event.
pub(crate) fn concerns_us(event: &Event) -> bool {
    match event {
        Event::Upload(event) => match event {
            UploadEvent::UploadStarted(upload) => {
                upload.started.session_id.is_some() || matches!(upload.kind, UploadKind::Final { .. })
            }
            UploadEvent::FileCompleted(_)
            | UploadEvent::FileVerified(_)
            | UploadEvent::FileRejected(_)
            | UploadEvent::FileUploaded(_)
            | UploadEvent::UploadCancelled(_)
            | UploadEvent::UploadExpired(_)
            | UploadEvent::QuarantineSigned(_)
            | UploadEvent::UploadConcatenated(_) => true,
            UploadEvent::UploadLengthSet(_)
            | UploadEvent::QuarantineCopied(_)
            | UploadEvent::QuarantineCleared(_)
            | UploadEvent::MultipartOpened(_)
            | UploadEvent::ChunkUploaded(_)
            | UploadEvent::PartAssembled(_) => false,
        },
        Event::File(event) => match event {
            FileEvent::FilePurged(_) => true,
            FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileSpaceReleased(_) => false,
        },
        Event::Session(event) => match event {
            SessionEvent::SessionCancelled(_) => true,
            SessionEvent::SessionOpened(_) | SessionEvent::SessionClosed(_) => false,
        },
        Event::Share(_) | Event::Token(_) | Event::Content(_) | Event::Quota(_) | Event::Directory(_) => false,
    }
}

/// Takes a place for a reaction that reads or copies `bytes`. Small amounts need no place.
fn place_for(worker: &Worker, company: CompanyId, bytes: u64) -> Result<Option<Place>, ReactionError> {
    if bytes < LONG_BYTES {
        return Ok(None);
    }
    worker.long.take(company).map(Some).ok_or(ReactionError::NoPlace)
}

/// Returns the pause before the next delivery of an event whose reaction found no place, for the number of deliveries
/// so far.
fn no_place_for(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 10)).unwrap_or(10) - 1;
    NO_PLACE.saturating_mul(1 << doublings).min(NO_PLACE_AT_MOST)
}

fn pause_after(attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(0, 10)).unwrap_or(10);
    Duration::from_millis(100).saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// Reacts to an event. A repeated call has no further effect.
pub(crate) async fn react(worker: &Worker, recorded: &Recorded) -> Result<(), ReactionError> {
    let company = recorded.subject.company;
    let causation = Causation::Event(recorded.position);
    match (&recorded.event, recorded.subject.aggregate) {
        (Event::Upload(event), Aggregate::UploadLifecycle(upload)) => {
            let aggregate = UploadAggregate { company, upload };
            react_to_upload(worker, aggregate, event, recorded.envelope.time, causation).await
        }
        (Event::File(FileEvent::FilePurged(_)), Aggregate::File(file)) => {
            content::purge(worker, company, file, causation).await
        }
        (Event::Session(SessionEvent::SessionCancelled(_)), Aggregate::Session(session)) => {
            cancel_session(worker, recorded, session, causation).await
        }
        (Event::Upload(_) | Event::File(_) | Event::Session(_), _) => Ok(()),
        (Event::Share(_) | Event::Token(_) | Event::Content(_) | Event::Quota(_) | Event::Directory(_), _) => Ok(()),
    }
}

/// Reacts to an event of an upload's lifecycle, recorded at `time`.
async fn react_to_upload(
    worker: &Worker,
    aggregate: UploadAggregate,
    event: &UploadEvent,
    time: Timestamp,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadAggregate { company, upload } = aggregate;
    match event {
        UploadEvent::UploadStarted(started) => {
            if let Some(session) = started.started.session_id {
                cancel_if_session_was(worker, company, session, upload, causation).await?;
            }
            match started.kind {
                UploadKind::Final { .. } => advance(worker, company, upload, causation).await,
                _ => Ok(()),
            }
        }
        // Such an upload has only this event, so its state need not be loaded.
        UploadEvent::FileUploaded(_) => {
            let mut loaded = Loaded::of_new();
            upload::evolve(&mut loaded.state, event, time);
            take_steps(worker, &aggregate, &mut loaded, causation).await
        }
        UploadEvent::UploadConcatenated(event) => {
            let aggregate = UploadAggregate { company, upload: event.into };
            let into = load(worker.log.as_ref(), &LifecycleAggregate(aggregate)).await?;
            // The final upload had already ended when this partial upload was claimed.
            if into.state.has_ended_without_file() {
                concatenate::delete_partials(worker, &aggregate, &into.state, causation).await?;
            }
            Ok(())
        }
        UploadEvent::FileCompleted(_)
        | UploadEvent::FileVerified(_)
        | UploadEvent::FileRejected(_)
        | UploadEvent::UploadCancelled(_)
        | UploadEvent::UploadExpired(_)
        | UploadEvent::QuarantineSigned(_) => advance(worker, company, upload, causation).await,
        UploadEvent::UploadLengthSet(_)
        | UploadEvent::QuarantineCopied(_)
        | UploadEvent::QuarantineCleared(_)
        | UploadEvent::MultipartOpened(_)
        | UploadEvent::ChunkUploaded(_)
        | UploadEvent::PartAssembled(_) => Ok(()),
    }
}

/// Loads an upload and does its next steps.
pub(crate) async fn advance(
    worker: &Worker,
    company: CompanyId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload };
    let mut loaded = load(worker.log.as_ref(), &aggregate).await?;
    take_steps(worker, &aggregate, &mut loaded, causation).await
}

async fn take_steps(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    for step in upload::react(&loaded.state) {
        do_step(worker, aggregate, loaded, causation, step).await?;
    }
    if loaded.state.has_ended() {
        worker.uploads.close(aggregate.upload);
    }
    Ok(())
}

async fn do_step(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<upload::State>,
    causation: Causation,
    step: Step,
) -> Result<(), ReactionError> {
    tracing::debug!(upload_id = %aggregate.upload, ?step, "reacting");
    let (company, upload) = (aggregate.company, aggregate.upload);
    match step {
        Step::AssemblePart(part_number) => {
            let open = worker.uploads.open(worker, company, upload).await?;
            let _claim = open.claim(part_number).await;
            waybill_repository::refresh(worker.log.as_ref(), aggregate, &mut *open.loaded.lock().await).await?;
            match assemble_part(worker, &open, &worker.context(causation), part_number, None).await {
                // The end of the upload has its own event and reaction.
                Ok(()) | Err(PlaneError::Refused(Refusal::UploadEnded { .. })) => {}
                Err(error) => return Err(error.into()),
            }
            waybill_repository::refresh(worker.log.as_ref(), aggregate, loaded).await?;
            Ok(())
        }
        Step::Concatenate => concatenate::concatenate(worker, aggregate, loaded, causation).await,
        Step::TakeOver => quarantine::take_over(worker, aggregate, loaded, causation).await,
        Step::CompleteObject => complete::complete_or_reject(worker, aggregate, loaded, causation).await,
        Step::VerifyObject => verify::verify_object(worker, aggregate, loaded, causation).await,
        Step::DeleteObject => cleanup::delete_object(worker, aggregate, &loaded.state).await,
        Step::DeletePartials => concatenate::delete_partials(worker, aggregate, &loaded.state, causation).await,
        Step::DeleteQuarantine => quarantine::delete(worker, aggregate, &loaded.state).await,
        Step::DeleteStaging => cleanup::delete_staging(worker, aggregate).await,
        Step::KeepContent => content::keep(worker, aggregate, loaded, causation).await,
        Step::SettleAsUsed => settle(worker, aggregate, Some(loaded.state.grid().size_bytes), causation).await,
        Step::SettleAsUnused => settle(worker, aggregate, None, causation).await,
    }
}

/// Settles the reservation of an upload. `bytes_used` is the size of its file, or `None` if it did not become a file.
async fn settle(
    worker: &Worker,
    aggregate: &UploadAggregate,
    bytes_used: Option<u64>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let item = SettledItem { upload_id: aggregate.upload, bytes_used };
    Ok(worker.space.settle(aggregate.company, item, worker.context(causation)).await?)
}

/// Cancels an upload that started while its session was being cancelled.
async fn cancel_if_session_was(
    worker: &Worker,
    company: CompanyId,
    session: SessionId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let loaded = load(worker.log.as_ref(), &SessionAggregate { company, session }).await?;
    if loaded.state.phase == session::Phase::Cancelled {
        cancel(worker, company, upload, causation).await?;
    }
    Ok(())
}

/// Cancels the running uploads of a session. Reads them from the read model, which must contain the cancellation.
/// Uploads that start later are cancelled in the reaction to their start.
async fn cancel_session(
    worker: &Worker,
    recorded: &Recorded,
    session: SessionId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let company = recorded.subject.company;
    let mut connection = worker.database.connection().await?;
    let checkpoint = projection::checkpoint(&mut connection, recorded.position.partition).await?;
    let folded = checkpoint.and_then(|checkpoint| u64::try_from(checkpoint.seq).ok()).unwrap_or(0);
    if folded < recorded.position.seq {
        return Err(ReactionError::ProjectionBehind);
    }
    let running = queries::unfinished_uploads(&mut connection, company, session).await?;
    drop(connection);
    for upload in running {
        cancel(worker, company, upload, causation).await?;
    }
    Ok(())
}

/// Cancels an upload. Does nothing if it is already complete.
pub(crate) async fn cancel(
    worker: &Worker,
    company: CompanyId,
    upload: UploadId,
    causation: Causation,
) -> Result<(), ReactionError> {
    let aggregate = UploadAggregate { company, upload };
    let mut loaded = Loaded::default();
    let context = worker.context(causation);
    match execute(worker.log.as_ref(), &aggregate, &mut loaded, &context, Command::Cancel).await {
        Ok(_) | Err(ExecuteError::Refused(Refusal::UploadCompleted { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl ReactionError {
    /// Returns `true` if another worker was faster or there was no place, which is not worth a warning.
    pub(crate) fn is_contention(&self) -> bool {
        matches!(self, Self::NoPlace | Self::Execute(ExecuteError::Append(AppendError::Conflict)))
    }
}
