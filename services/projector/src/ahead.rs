//! Pipeline that folds many events quickly: it writes one batch while it folds the next one and reads the one after
//! that.
//!
//! Rows stay in memory from one batch to the next, so that few rows are loaded again. The pipeline parks no events. It
//! stops at the first event that does not fit, and [`crate::apply`] continues from there.

use crate::apply::{ProjectError, checkpoint_at, load_missing, writes};
use crate::fold::{AllTables, Touched};
use crate::writing::{self, Refused, is_unclear};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::ops::DerefMut;
use tokio::sync::{mpsc, oneshot};
use waybill_event_log::{ReadError, Stored};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::rows::Write;
use waybill_read_model::{Database, ReadModelError};

/// Maximum number of rows that all partitions together keep in memory, about 300 MB. The rows of the current batch of
/// each partition are not included.
const ROWS: usize = 300_000;

/// Consecutive batches of events.
pub(crate) type Batches = mpsc::Receiver<Result<Vec<Stored>, ReadError>>;

/// Message from the folding task to the writing task.
enum Step {
    /// Write the rows that a batch changed, and the checkpoint after the batch.
    Write(Vec<Write>, Checkpoint),
    /// Notify this sender after all previous rows are written.
    Tell(oneshot::Sender<()>),
}

/// Folds `batches`, which begin after `from`, until an event does not fit. Returns the checkpoint that was reached.
/// `at_once` is the number of partitions that are folded at the same time.
pub(crate) async fn fold(
    database: &Database,
    partition: u32,
    from: Checkpoint,
    epoch: &str,
    batches: Batches,
    at_once: usize,
) -> Result<Checkpoint, ProjectError> {
    let (sender, mut steps) = mpsc::channel(1);
    let mut folder = Folder {
        database: database.clone(),
        epoch: epoch.to_owned(),
        tables: AllTables::new(database.metadata_keys()),
        is_all: from.seq == 0,
        rows: ROWS / at_once.max(1),
    };
    let folding = tokio::spawn(async move { folder.run(batches, &sender).await });
    let mut at = from;
    while let Some(step) = steps.recv().await {
        match step {
            Step::Write(rows, to) => match write(database, partition, &at, &to, rows).await {
                Ok(()) => at = to,
                Err(Refused::Event(reason)) => {
                    tracing::warn!(partition, reason, "PostgreSQL rejected the rows of a batch");
                    return Ok(at);
                }
                Err(Refused::ReadModel(error)) => return Err(error.into()),
            },
            // The folding task may have failed and dropped its receiver. Its error is returned below.
            Step::Tell(asked) => drop(asked.send(())),
        }
    }
    match folding.await {
        Ok(Ok(())) => Ok(at),
        Ok(Err(Stop::Misfit(reason))) => {
            tracing::warn!(partition, reason, "cannot fold an event");
            Ok(at)
        }
        Ok(Err(Stop::Failed(error))) => Err(error),
        Err(error) => Err(ReadModelError::Unavailable { operation: "folding", reason: error.to_string() }.into()),
    }
}

/// Reason why the folding task stopped.
enum Stop {
    /// An event does not fit.
    Misfit(String),
    /// The log or PostgreSQL failed.
    Failed(ProjectError),
}

impl From<ReadModelError> for Stop {
    fn from(error: ReadModelError) -> Self {
        match Refused::from(error) {
            Refused::Event(reason) => Self::Misfit(reason),
            Refused::ReadModel(error) => Self::Failed(error.into()),
        }
    }
}

/// Writes the checkpoint and all rows in one transaction.
async fn write(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    to: &Checkpoint,
    rows: Vec<Write>,
) -> Result<(), Refused> {
    let done = try_to_write(database, partition, from, to, &rows, false).await;
    if is_unclear(&done) { try_to_write(database, partition, from, to, &rows, true).await } else { done }
}

async fn try_to_write(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    to: &Checkpoint,
    rows: &[Write],
    is_to_tell: bool,
) -> Result<(), Refused> {
    let mut connection = database.connection().await?;
    connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            projection::advance(connection, partition, from, to).await?;
            writing::write(connection, rows, is_to_tell).await
        })
        .await
}

struct Folder {
    database: Database,
    epoch: String,
    tables: AllTables,
    /// `true` if `tables` contains all rows of the partition.
    is_all: bool,
    /// Maximum number of rows that `tables` keeps.
    rows: usize,
}

impl Folder {
    async fn run(&mut self, mut batches: Batches, steps: &mpsc::Sender<Step>) -> Result<(), Stop> {
        while let Some(batch) = batches.recv().await {
            let batch = batch.map_err(|error| Stop::Failed(error.into()))?;
            self.make_room(steps).await?;
            self.load(&batch).await?;
            for stored in &batch {
                self.tables.note(stored);
                let recorded = stored.event.as_ref().map_err(|error| Stop::Misfit(error.to_string()))?;
                self.tables.fold(recorded).map_err(|misfit| Stop::Misfit(misfit.to_string()))?;
            }
            let rows = writes(&self.tables)?;
            self.tables.written();
            let Some(last) = batch.last() else { continue };
            if steps.send(Step::Write(rows, checkpoint_at(&self.epoch, last))).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Drops all rows if there are too many, after they have been written.
    async fn make_room(&mut self, steps: &mpsc::Sender<Step>) -> Result<(), Stop> {
        if self.tables.len() <= self.rows {
            return Ok(());
        }
        let (sender, told) = oneshot::channel();
        // If the writing task has stopped, the next batch is not needed either.
        if steps.send(Step::Tell(sender)).await.is_ok() && told.await.is_ok() {
            self.tables = AllTables::new(self.database.metadata_keys());
            self.is_all = false;
        }
        Ok(())
    }

    async fn load(&mut self, batch: &[Stored]) -> Result<(), Stop> {
        if self.is_all {
            return Ok(());
        }
        let mut connection = self.database.connection().await?;
        Ok(load_missing(&mut connection, &Touched::by(batch), &mut self.tables).await?)
    }
}
