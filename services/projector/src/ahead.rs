//! Folding what lies far behind: while one batch is written, the next one is folded, and the one after that is read.
//!
//! Rows stay in memory from one batch to the next, so that few are read back. Nothing is parked here: what does not fit
//! ends this way of folding, and [`crate::apply`] goes on from there.

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

/// How many rows are kept in memory at most, by all partitions together, but for those of one batch each: some 300 MB.
const ROWS: usize = 300_000;

/// Batches of events, each behind the one before.
pub(crate) type Batches = mpsc::Receiver<Result<Vec<Stored>, ReadError>>;

/// What the one who folds hands to the one who writes.
enum Step {
    /// What a batch changed, and the checkpoint behind it.
    Write(Vec<Write>, Checkpoint),
    /// All that came before is to be written, and this to be told.
    Tell(oneshot::Sender<()>),
}

/// Folds `batches`, which follow `from`, as far as they fit; answers with how far that is. `at_once` partitions are folded at
/// a time.
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
        tables: AllTables::default(),
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
                    tracing::warn!(partition, reason, "the tables refuse a batch");
                    return Ok(at);
                }
                Err(Refused::ReadModel(error)) => return Err(error.into()),
            },
            // Whoever asked may have failed meanwhile; that is told below.
            Step::Tell(asked) => drop(asked.send(())),
        }
    }
    match folding.await {
        Ok(Ok(())) => Ok(at),
        Ok(Err(Stop::Misfit(reason))) => {
            tracing::warn!(partition, reason, "an event does not fit");
            Ok(at)
        }
        Ok(Err(Stop::Failed(error))) => Err(error),
        Err(error) => Err(ReadModelError::Unavailable { operation: "folding", reason: error.to_string() }.into()),
    }
}

/// Why no more is folded.
enum Stop {
    /// An event does not fit.
    Misfit(String),
    /// The log or Postgres does not do its part.
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

/// One transaction: the checkpoint, and all rows.
async fn write(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    to: &Checkpoint,
    rows: Vec<Write>,
) -> Result<(), Refused> {
    let done = try_to_write(database, partition, (from, to), &rows, false).await;
    if is_unclear(&done) { try_to_write(database, partition, (from, to), &rows, true).await } else { done }
}

async fn try_to_write(
    database: &Database,
    partition: u32,
    (from, to): (&Checkpoint, &Checkpoint),
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
    /// Whether `tables` has every row that there is.
    is_all: bool,
    /// How many of them are kept.
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

    /// Forgets the rows where they are too many, once all of them are written.
    async fn make_room(&mut self, steps: &mpsc::Sender<Step>) -> Result<(), Stop> {
        if self.tables.len() <= self.rows {
            return Ok(());
        }
        let (sender, told) = oneshot::channel();
        // Where nobody writes any more, nobody wants the next batch either.
        if steps.send(Step::Tell(sender)).await.is_ok() && told.await.is_ok() {
            self.tables = AllTables::default();
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
