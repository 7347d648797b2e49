//! Follows a partition: takes its lease and folds new events from the checkpoint on, as long as the process runs.

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

/// Maximum number of events in one transaction.
const BATCH: usize = 1_000;

/// Reason why this projector stopped folding a partition.
enum Left {
    /// This projector does not hold the lease, or the process is stopping.
    Lost,
    /// This projector released the partition for another projector. Its share does not count the partition any more.
    Surplus,
}

/// Minimum time between two transactions. Under load, each transaction then has more events, at less cost per event.
/// The first event after a pause does not wait.
const PACE: Duration = Duration::from_millis(25);
/// Time that each event of a transaction adds to the wait before the next transaction, up to [`LONGEST_PACE`].
const PACE_PER_EVENT: Duration = Duration::from_millis(4);
/// Maximum time between two transactions while events are waiting.
const LONGEST_PACE: Duration = Duration::from_millis(100);

/// Returns the time between a transaction with `events` events and the next transaction.
fn pace_after(events: usize) -> Duration {
    PACE_PER_EVENT.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX)).clamp(PACE, LONGEST_PACE)
}

/// Interval at which the growth of tables is checked while events arrive.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// One projector's work on one partition.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) database: Database,
    pub(crate) partition: u32,
    pub(crate) owner: Uuid,
    /// Time within which another projector takes over the partition of a projector that died. The lease in the database
    /// lasts 3/4 of it, which leaves time for other projectors to notice.
    pub(crate) lease: Duration,
    pub(crate) share: Arc<Share>,
}

impl Follower {
    /// Folds the partition until shutdown, whenever the lease is free and the partition is within the share.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            let mut pause = self.lease / 8;
            if !self.share.take() {
                // Other followers of this process count in the share while they only try to take a lease.
                pause = self.lease / 32;
            } else if let Err(error) = self.hold_and_count(&shutdown).await {
                tracing::warn!(partition = self.partition, %error, "cannot fold the partition");
                // Another projector may be able to reach the log and PostgreSQL.
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
            tracing::debug!(partition = self.partition, %error, "cannot release the lease; it will expire");
        }
    }

    async fn take_lease(&self) -> Result<Option<Checkpoint>, ReadModelError> {
        projection::take_lease(&self.database, self.partition, self.owner, self.lease * 3 / 4).await
    }

    /// Updates the statistics of tables that have grown. A failure only makes query plans worse.
    async fn count_young_tables(&self) {
        let counted = async { statistics::follow(&mut *self.database.connection().await?).await };
        if let Err(error) = counted.await {
            tracing::warn!(partition = self.partition, %error, "cannot update the statistics of grown tables");
        }
    }

    /// Folds as long as this projector holds the lease.
    async fn hold(&self, shutdown: &Shutdown) -> Result<Left, ProjectError> {
        let Some(checkpoint) = self.take_lease().await? else { return Ok(Left::Lost) };
        let head = self.log.head(self.partition).await?;
        let mut at = start(self.log.as_ref(), &self.database, self.partition, checkpoint, &head).await?;
        let from = u64::try_from(at.seq).unwrap_or(0);
        tracing::info!(partition = self.partition, seq = from, "started to fold the partition");
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
                        tracing::info!(partition = self.partition, "releasing the partition for another projector");
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
                        // A swap replaced the tables with newer ones, or another projector folds the partition.
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

/// Adds events to `batch` until time `next`, and then those that are available without waiting. Waits for at least one
/// event, unless the stream has ended. Returns as soon as the batch is full, because more events probably follow. If
/// the future is dropped, `batch` keeps the events.
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

/// Returns the checkpoint at which folding begins. A checkpoint is invalid if it has another epoch, is after the end of
/// the stream, or if the stream has another event at that sequence. In that case, deletes the rows of the partition and
/// returns the beginning of the stream.
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
    tracing::warn!(partition, "the tables were built from another stream; rebuilding the partition");
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

/// Returns `true` if the event at `position` has message id `id`, or if `id` is empty and the check is not possible.
async fn has_event(log: &dyn EventLog, position: Position, id: &str) -> Result<bool, ReadError> {
    if position.seq == 0 || id.is_empty() {
        return Ok(true);
    }
    let found = log.at(position).await?;
    Ok(found.is_some_and(|found| found.message_id.as_deref() == Some(id)))
}
