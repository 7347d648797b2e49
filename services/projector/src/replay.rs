//! Rebuilding the read models, and comparing a rebuilt one with the live one.

use crate::ahead::{self, Batches};
use crate::apply::{ProjectError, apply};
use diesel_async::AsyncPgConnection;
use futures_util::StreamExt;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_event_log::{EventLog, ReadError};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::{Database, ReadModelError, SchemaName, TableDigest, digests};

/// How many events one transaction of a rebuild takes.
const BATCH: usize = 10_000;

/// How long the partitions of a schema stay ours without renewal.
const LEASE: Duration = Duration::from_secs(60);

/// Why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Folding failed.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// Postgres does not do its part.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A projector folds into the schema.
    #[error(
        "partition {partition} of schema {schema} is being folded by a projector; stop it, or wait for its lease to end"
    )]
    Leased {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
    /// The checkpoint belongs to another incarnation of the stream.
    #[error("partition {partition} of schema {schema} was built from another stream; drop the schema first")]
    OtherStream {
        /// The schema.
        schema: SchemaName,
        /// The partition.
        partition: u32,
    },
}

/// One table of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableComparison {
    /// As it is.
    pub live: TableDigest,
    /// As it was rebuilt.
    pub rebuilt: TableDigest,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Up to where both were folded, by partition.
    pub checkpoints: Vec<(u32, i64)>,
    /// Every table.
    pub tables: Vec<TableComparison>,
}

impl Comparison {
    /// Whether all tables are equal.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.live == table.rebuilt)
    }
}

/// Makes the tables in the schema of `database` where they are missing, and folds all events into them that they do not
/// hold yet. Answers with how many events that were.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay_into(log: &dyn EventLog, database: &Database) -> Result<u64, ReplayError> {
    let database = &database.patient()?;
    database.migrate().await?;
    let mut folded = 0;
    for partition in log.partitions().all() {
        let head = log.head(partition).await?;
        folded += fold_up_to(log, database, partition, &head.epoch, head.last_seq).await?;
    }
    Ok(folded)
}

/// Rebuilds everything in a schema beside the live one, up to exactly where the live one is, and compares. The live
/// tables are read in one transaction, so nothing needs to stop.
///
/// # Errors
/// [`ReplayError`].
pub async fn verify(log: &dyn EventLog, live: &Database) -> Result<Comparison, ReplayError> {
    let live = &live.patient()?;
    let mut connection = live.connection().await?;
    let (checkpoints, live_digests) = connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            Ok::<_, ReadModelError>((projection::checkpoints(connection).await?, digests(connection).await?))
        })
        .await?;
    drop(connection);
    let name = format!("waybill_verify_{}", Uuid::now_v7().simple());
    // The name has lower-case letters, digits and underscores only.
    let schema: SchemaName = name.parse().unwrap_or_else(|_| live.schema().clone());
    let beside = live.in_schema(schema)?;
    beside.migrate().await?;
    let rebuilt = rebuild(log, &beside, &checkpoints).await;
    beside.drop_schema().await?;
    let tables =
        live_digests.into_iter().zip(rebuilt?).map(|(live, rebuilt)| TableComparison { live, rebuilt }).collect();
    let checkpoints = checkpoints.into_iter().map(|(partition, checkpoint)| (partition, checkpoint.seq)).collect();
    Ok(Comparison { checkpoints, tables })
}

async fn rebuild(
    log: &dyn EventLog,
    database: &Database,
    checkpoints: &[(u32, Checkpoint)],
) -> Result<Vec<TableDigest>, ReplayError> {
    for (partition, checkpoint) in checkpoints {
        let until = u64::try_from(checkpoint.seq).unwrap_or(0);
        fold_up_to(log, database, *partition, &checkpoint.epoch, until).await?;
    }
    Ok(digests(&mut *database.connection().await?).await?)
}

/// Folds a partition from its checkpoint to sequence `until`.
async fn fold_up_to(
    log: &dyn EventLog,
    database: &Database,
    partition: u32,
    epoch: &str,
    until: u64,
) -> Result<u64, ReplayError> {
    let owner = Uuid::now_v7();
    let schema = || database.schema().clone();
    let lease = projection::take_lease(database, partition, owner, LEASE).await?;
    let mut at = lease.ok_or_else(|| ReplayError::Leased { schema: schema(), partition })?;
    if !at.epoch.is_empty() && at.epoch != epoch {
        return Err(ReplayError::OtherStream { schema: schema(), partition });
    }
    let from = seq_of(&at);
    let held = Held { database, partition, owner };
    if !projection::is_any_parked(&mut *database.connection().await?).await? {
        let batches = read_ahead(log, partition, from, until).await?;
        at = ahead::fold(&held, at, epoch, batches, from == 0).await?;
    }
    // What did not fit is parked, and so is what waits behind it.
    let mut batches = read_ahead(log, partition, seq_of(&at), until).await?;
    while let Some(batch) = batches.recv().await {
        at = apply(database, partition, &at, epoch, &batch?).await?;
        held.renew().await?;
    }
    projection::release_lease(database, partition, owner).await?;
    Ok(seq_of(&at).saturating_sub(from))
}

/// A partition that is ours for now.
pub(crate) struct Held<'a> {
    pub(crate) database: &'a Database,
    pub(crate) partition: u32,
    owner: Uuid,
}

impl Held<'_> {
    /// Keeps it for another while.
    pub(crate) async fn renew(&self) -> Result<(), ReadModelError> {
        projection::take_lease(self.database, self.partition, self.owner, LEASE).await.map(drop)
    }
}

fn seq_of(checkpoint: &Checkpoint) -> u64 {
    u64::try_from(checkpoint.seq).unwrap_or(0)
}

/// The events behind `from`, up to `until`, in batches; the next ones are read while one is folded.
async fn read_ahead(log: &dyn EventLog, partition: u32, from: u64, until: u64) -> Result<Batches, ReadError> {
    let (sender, batches) = mpsc::channel(1);
    if from >= until {
        return Ok(batches);
    }
    let mut events = log.subscribe(partition, from).await?;
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while let Some(event) = events.next().await {
            let position = match event {
                Ok(event) => {
                    let seq = event.position.seq;
                    batch.push(event);
                    seq
                }
                Err(error) => {
                    drop(sender.send(Err(error)).await);
                    return;
                }
            };
            let ends = position >= until;
            if ends || batch.len() == BATCH {
                let sent = sender.send(Ok(std::mem::take(&mut batch))).await;
                if ends || sent.is_err() {
                    return;
                }
            }
        }
        let error = ReadError::Unavailable("the log ended before its end".to_owned());
        drop(sender.send(Err(error)).await);
    });
    Ok(batches)
}
