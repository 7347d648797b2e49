//! Following a partition: with a lease, from the checkpoint, for as long as the process runs.

use crate::apply::{ProjectError, apply};
use crate::share::Share;
use crate::unpark::unpark;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_event_log::{EventLog, Head, ReadError, Stored};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::{Database, ReadModelError, statistics};
use waybill_schema::Position;
use waybill_service_kit::Shutdown;

/// How many events one transaction takes at most.
const BATCH: usize = 1_000;

/// Why a partition is not folded any more.
enum Left {
    /// Its lease is not ours, or the process stops.
    Lost,
    /// It was given up for another projector, and is not counted any more.
    Surplus,
}

/// The shortest time from one transaction to the next: under load, more events go into each, at less cost for each event. The
/// first one after a pause does not wait.
const PACE: Duration = Duration::from_millis(25);
/// The time for each event of the last transaction, and the longest time there is.
const PACE_PER_EVENT: Duration = Duration::from_millis(4);
const LONGEST_PACE: Duration = Duration::from_millis(100);

/// Returns the time from a transaction with so many events to the next.
fn pace_after(events: usize) -> Duration {
    PACE_PER_EVENT.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX)).clamp(PACE, LONGEST_PACE)
}

/// How often it is looked whether tables have grown, while there are events.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// One projector's work on one partition.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) database: Database,
    pub(crate) partition: u32,
    pub(crate) owner: Uuid,
    /// How long a partition stays with a projector that has gone. The row's lease is a little shorter, so that with
    /// renewal and looking the partition has moved by then.
    pub(crate) lease: Duration,
    pub(crate) share: Arc<Share>,
}

impl Follower {
    /// Folds the partition whenever its lease can be had and it is within the share, until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            let mut pause = self.lease / 8;
            if !self.share.take() {
                // Others of ours may only be looking whether theirs is free.
                pause = self.lease / 32;
            } else if let Err(error) = self.hold_and_count(&shutdown).await {
                tracing::warn!(partition = self.partition, %error, "folding is interrupted");
                // Somebody else may have what we lack.
                self.release().await;
                pause = self.lease;
            }
            shutdown.unless(tokio::time::sleep(pause)).await;
        }
        self.release().await;
    }

    async fn hold_and_count(&self, shutdown: &Shutdown) -> Result<(), ProjectError> {
        let left = self.hold(shutdown).await;
        if !matches!(left, Ok(Left::Surplus)) {
            self.share.give_back();
        }
        left.map(drop)
    }

    async fn release(&self) {
        if let Err(error) = projection::release_lease(&self.database, self.partition, self.owner).await {
            tracing::debug!(partition = self.partition, %error, "the lease will run out by itself");
        }
    }

    async fn take_lease(&self) -> Result<Option<Checkpoint>, ReadModelError> {
        projection::take_lease(&self.database, self.partition, self.owner, self.lease * 3 / 4).await
    }

    /// Without it plans are worse; nothing else is wrong.
    async fn count_young_tables(&self) {
        let counted = async { statistics::follow(&mut *self.database.connection().await?).await };
        if let Err(error) = counted.await {
            tracing::warn!(partition = self.partition, %error, "young tables were not counted");
        }
    }

    /// Folds for as long as the lease is ours.
    async fn hold(&self, shutdown: &Shutdown) -> Result<Left, ProjectError> {
        let Some(checkpoint) = self.take_lease().await? else { return Ok(Left::Lost) };
        let head = self.log.head(self.partition).await?;
        let mut at = start(self.log.as_ref(), &self.database, self.partition, checkpoint, &head).await?;
        let from = u64::try_from(at.seq).unwrap_or(0);
        tracing::info!(partition = self.partition, seq = from, "folding");
        unpark(self.log.as_ref(), &self.database, self.partition, &at).await?;
        let mut events = self.log.subscribe(self.partition, from).await?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut renewal = tokio::time::interval(self.lease / 4);
        let mut next = Instant::now();
        let mut counted = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = shutdown.triggered() => return Ok(Left::Lost),
                _ = renewal.tick() => {
                    if self.share.give_up() {
                        tracing::info!(partition = self.partition, "another projector is to have the partition");
                        self.release().await;
                        return Ok(Left::Surplus);
                    }
                    if self.take_lease().await?.is_none() {
                        return Ok(Left::Lost);
                    }
                }
                gathered = gather(&mut events, &mut batch, next) => {
                    next = Instant::now() + pace_after(batch.len());
                    gathered?;
                    if batch.is_empty() {
                        return Ok(Left::Lost);
                    }
                    at = match apply(&self.database, self.partition, &at, &head.epoch, &batch).await {
                        // Other tables, which are further, were put in the place of those; or somebody else folds.
                        Err(ProjectError::ReadModel(ReadModelError::CheckpointLost { .. })) => return Ok(Left::Lost),
                        applied => applied?,
                    };
                    batch.clear();
                    if counted.elapsed() >= COUNT_EVERY {
                        self.count_young_tables().await;
                        counted = Instant::now();
                    }
                }
            }
        }
    }
}

/// Adds what comes to `batch` until `next`, and what is there already then: at least one event, unless the stream has ended,
/// and no more than fit. A full one is not held back: there is more behind it. What was added stays if the future is dropped.
async fn gather(
    events: &mut BoxStream<'_, Result<Stored, ReadError>>,
    batch: &mut Vec<Stored>,
    next: Instant,
) -> Result<(), ReadError> {
    while batch.len() < BATCH {
        let more = events.next();
        let event = if batch.is_empty() {
            more.await
        } else {
            tokio::select! {
                biased;
                event = more => event,
                () = tokio::time::sleep_until(next) => return Ok(()),
            }
        };
        match event {
            Some(event) => batch.push(event?),
            None => break,
        }
    }
    Ok(())
}

/// Where folding begins. A checkpoint of another incarnation of the stream, one behind its end, or one at which the stream has
/// another event, means nothing: then the tables of the partition are emptied and built anew.
async fn start(
    log: &dyn EventLog,
    database: &Database,
    partition: u32,
    checkpoint: Checkpoint,
    head: &Head,
) -> Result<Checkpoint, ProjectError> {
    let seq = u64::try_from(checkpoint.seq).unwrap_or(0);
    if seq == 0 && checkpoint.epoch.is_empty() {
        return Ok(checkpoint);
    }
    let is_of_stream = checkpoint.epoch == head.epoch && seq <= head.last_seq;
    if is_of_stream && has_event(log, Position { partition, seq }, &checkpoint.last_id).await? {
        return Ok(checkpoint);
    }
    tracing::warn!(partition, "the stream is another one than the tables were built from; building them anew");
    let mut connection = database.connection().await?;
    let partitions = log.partitions();
    connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            projection::clear(connection, partition, &|company| partitions.of(company) == partition).await
        })
        .await?;
    Ok(Checkpoint { epoch: String::new(), seq: 0, last_id: String::new() })
}

/// Whether the event at a position has this message id. Of checkpoints without one nothing is known.
async fn has_event(log: &dyn EventLog, position: Position, id: &str) -> Result<bool, ReadError> {
    if position.seq == 0 || id.is_empty() {
        return Ok(true);
    }
    let found = log.at(position).await?;
    Ok(found.is_some_and(|found| found.message_id.as_deref() == Some(id)))
}
