//! Rebuilds the read model, and compares a rebuilt read model with the live one.

use crate::error::ReplayError;
use crate::rebuild::{Target, fold_up_to, heads};
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use waybill_event_log::EventLog;
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::{Database, ReadModelError, SchemaName, TableDigest, digests};
use waybill_service_kit::new_id;

/// Comparison of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableComparison {
    /// Digest of the live table.
    pub live: TableDigest,
    /// Digest of the rebuilt table.
    pub rebuilt: TableDigest,
}

/// Result of [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Partitions and the sequences up to which both read models were folded.
    pub checkpoints: Vec<(u32, i64)>,
    /// Comparisons of all tables.
    pub tables: Vec<TableComparison>,
}

impl Comparison {
    pub(crate) fn of(checkpoints: &[(u32, Checkpoint)], live: Vec<TableDigest>, rebuilt: Vec<TableDigest>) -> Self {
        Self {
            checkpoints: checkpoints.iter().map(|(partition, at)| (*partition, at.seq)).collect(),
            tables: live.into_iter().zip(rebuilt).map(|(live, rebuilt)| TableComparison { live, rebuilt }).collect(),
        }
    }

    /// Returns `true` if all tables are equal.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.live == table.rebuilt)
    }
}

/// Creates missing tables in the schema of `database`, folds all events that they do not contain yet, and returns the
/// number of these events. Folds several partitions at once.
///
/// # Errors
/// [`ReplayError`].
pub fn replay_into<'a>(log: &'a dyn EventLog, database: &'a Database) -> BoxFuture<'a, Result<u64, ReplayError>> {
    Box::pin(replay(log, database))
}

async fn replay(log: &dyn EventLog, database: &Database) -> Result<u64, ReplayError> {
    let database = &database.patient()?;
    database.migrate().await?;
    fold_up_to(log, database, heads(log, log.partitions().all()).await?).await
}

/// Rebuilds all tables in a temporary schema, exactly up to the checkpoints of the live tables, and compares them.
/// Reads the live tables in one transaction, so no process needs to stop.
///
/// # Errors
/// [`ReplayError`].
pub fn verify<'a>(log: &'a dyn EventLog, live: &'a Database) -> BoxFuture<'a, Result<Comparison, ReplayError>> {
    Box::pin(compare(log, live))
}

async fn compare(log: &dyn EventLog, live: &Database) -> Result<Comparison, ReplayError> {
    let live = &live.patient()?;
    let (checkpoints, digests) = look(live).await?;
    let name = format!("waybill_verify_{}", new_id().simple());
    // The name has only lower-case letters, digits and underscores, so parsing it does not fail.
    let schema: SchemaName = name.parse().unwrap_or_else(|_| live.schema().clone());
    let beside = live.in_schema(schema)?;
    beside.migrate().await?;
    let rebuilt = rebuild(log, &beside, &checkpoints).await;
    beside.drop_schema().await?;
    Ok(Comparison::of(&checkpoints, digests, rebuilt?))
}

/// Returns the checkpoints and the digests of the tables, read in one transaction.
pub(crate) async fn look(live: &Database) -> Result<(Vec<(u32, Checkpoint)>, Vec<TableDigest>), ReadModelError> {
    live.connection()
        .await?
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| {
            Ok((projection::checkpoints(connection).await?, digests(connection).await?))
        })
        .await
}

async fn rebuild(
    log: &dyn EventLog,
    beside: &Database,
    checkpoints: &[(u32, Checkpoint)],
) -> Result<Vec<TableDigest>, ReplayError> {
    let targets = checkpoints.iter().map(|(partition, at)| Target::at(*partition, at)).collect();
    fold_up_to(log, beside, targets).await?;
    Ok(digests(&mut *beside.connection().await?).await?)
}
