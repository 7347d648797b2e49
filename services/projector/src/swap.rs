//! Rebuilds the tables in a second schema and replaces the live tables with them, while all processes keep running.
//!
//! The new tables are folded up to the checkpoints of the live tables. Then a short transaction blocks the projectors,
//! folds the last events and renames the schemas. The projectors continue from the same checkpoints with the leases
//! that they hold.

use crate::error::ReplayError;
use crate::rebuild::{Target, fold_up_to, heads, seq_of};
use crate::replay::{Comparison, look};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::future::BoxFuture;
use std::ops::DerefMut;
use std::time::Duration;
use waybill_event_log::{EventLog, ReadError};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::swap::{self as tables, PutRight};
use waybill_read_model::{Database, ReadModelError, SchemaName, digests};

/// Maximum number of events that are folded while the projectors wait. This takes a few tenths of a second.
const LAST: u64 = 1_000;

/// Number of attempts for the last step. An attempt fails if more than [`LAST`] events are missing or if projectors
/// hold their locks.
const ATTEMPTS: u32 = 100;

/// Number of checks, 200 ms apart, whether the live tables have reached the checkpoints of the new ones.
const LOOKS: u32 = 50;

/// Maximum time for folding the last events.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Number of attempts, 1 s apart, to drop the old tables.
const DROPS: u32 = 60;

type Transactions = AnsiTransactionManager;

/// Result of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// Comparison of the old and the new tables at the same checkpoints. `None` if the old tables lagged too far behind
    /// the log for a comparison.
    pub comparison: Option<Comparison>,
    /// Schema with the old tables, if they could not be dropped because they are still read.
    pub left: Option<SchemaName>,
}

/// Rebuilds all tables in a second schema and replaces the live tables with them. No process needs to stop. Continues
/// the work of an interrupted swap.
///
/// # Errors
/// [`ReplayError`]. The live tables are then unchanged.
pub fn swap<'a>(log: &'a dyn EventLog, live: &'a Database) -> BoxFuture<'a, Result<Swapped, ReplayError>> {
    Box::pin(swap_tables(log, live))
}

async fn swap_tables(log: &dyn EventLog, live: &Database) -> Result<Swapped, ReplayError> {
    let live = &live.patient()?;
    let name = live.schema();
    let strangers = tables::strangers(live).await?;
    if !strangers.is_empty() {
        return Err(ReplayError::Strangers { schema: name.clone(), strangers });
    }
    let old = name.with_ending("_old").map_err(|_| ReplayError::LongName(name.clone()))?;
    if tables::is_taken(live, &old).await? {
        return Err(ReplayError::Taken(old));
    }
    // An earlier swap may have left its old tables.
    let left = drop_old(live, &old).await?;
    if left.is_some() {
        return Err(ReplayError::Busy { schema: old });
    }
    let beside = build(log, live, log.partitions().all().collect()).await?;
    let comparison = compare(log, live, &beside).await?;
    tables::copy_rights(live, beside.schema()).await?;
    tables::copy_reads(&mut *live.connection().await?, beside.schema()).await?;
    for _ in 0..ATTEMPTS {
        catch_up(log, live, &beside).await?;
        match exchange(log, live, &beside, &old).await {
            Ok(true) => return Ok(Swapped { comparison, left: drop_old(live, &old).await? }),
            Ok(false) => {}
            Err(ReplayError::ReadModel(error)) if tables::is_busy(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ReplayError::Busy { schema: name.clone() })
}

/// Rebuilds the rows of one partition in a second schema and corrects the live rows that differ. Only the projector of
/// that partition waits meanwhile. Returns the changes to each table.
///
/// # Errors
/// [`ReplayError`]. The live tables are then unchanged.
pub fn put_right<'a>(
    log: &'a dyn EventLog,
    live: &'a Database,
    partition: u32,
) -> BoxFuture<'a, Result<Vec<PutRight>, ReplayError>> {
    Box::pin(put_rows_right(log, live, partition))
}

async fn put_rows_right(log: &dyn EventLog, live: &Database, partition: u32) -> Result<Vec<PutRight>, ReplayError> {
    let live = &live.patient()?;
    let beside = &build(log, live, vec![partition]).await?;
    catch_up(log, live, beside).await?;
    let mut connection = live.connection().await?;
    Transactions::begin_transaction(connection.deref_mut()).await?;
    let done = put_right_held(log, live, beside, partition, &mut connection).await;
    end(&mut connection, done.is_ok()).await?;
    let done = done?;
    beside.drop_schema().await?;
    Ok(done)
}

async fn put_right_held(
    log: &dyn EventLog,
    live: &Database,
    beside: &Database,
    partition: u32,
    connection: &mut AsyncPgConnection,
) -> Result<Vec<PutRight>, ReplayError> {
    let at = tables::hold_one(connection, partition).await?;
    must_be_alike(connection, live, beside).await?;
    fold_soon(log, beside, vec![(partition, at)]).await?;
    let partitions = log.partitions();
    Ok(tables::put_right(connection, beside.schema(), partition, &|company| partitions.of(company) == partition)
        .await?)
}

/// Builds new tables in a second schema and folds all current events of `partitions` into them.
async fn build(log: &dyn EventLog, live: &Database, partitions: Vec<u32>) -> Result<Database, ReplayError> {
    let name = live.schema();
    let beside = name.with_ending("_next").map_err(|_| ReplayError::LongName(name.clone()))?;
    let beside = live.in_schema(beside)?;
    beside.migrate().await?;
    let heads = heads(log, partitions.into_iter()).await?;
    match fold_up_to(log, &beside, heads.clone()).await {
        Err(ReplayError::OtherStream { .. }) => {
            tracing::warn!(schema = %beside.schema(), "the new tables were built from another stream; rebuilding them");
            beside.drop_schema().await?;
            beside.migrate().await?;
            fold_up_to(log, &beside, heads).await?;
        }
        done => drop(done?),
    }
    Ok(beside)
}

/// Compares the live tables with the new ones at the same checkpoints. Returns `None` if the live tables do not reach
/// the checkpoints of the new ones in time.
async fn compare(log: &dyn EventLog, live: &Database, beside: &Database) -> Result<Option<Comparison>, ReplayError> {
    let built = projection::checkpoints(&mut *beside.connection().await?).await?;
    for _ in 0..LOOKS {
        let at = projection::checkpoints(&mut *live.connection().await?).await?;
        let has = |(partition, built): &(u32, Checkpoint)| {
            built.seq == 0
                || at.iter().any(|(of, at)| of == partition && at.epoch == built.epoch && at.seq >= built.seq)
        };
        if built.iter().all(has) {
            let (checkpoints, of_live) = look(live).await?;
            fold_last(log, beside, checkpoints.clone()).await?;
            let rebuilt = digests(&mut *beside.connection().await?).await?;
            return Ok(Some(Comparison::of(&checkpoints, of_live, rebuilt)));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(None)
}

/// Folds up to the checkpoints of the live tables, and repeats this until at most [`LAST`] events were missing.
async fn catch_up(log: &dyn EventLog, live: &Database, beside: &Database) -> Result<(), ReplayError> {
    for _ in 0..ATTEMPTS {
        let checkpoints = projection::checkpoints(&mut *live.connection().await?).await?;
        if fold_last(log, beside, checkpoints).await? <= LAST {
            break;
        }
    }
    Ok(())
}

/// Folds up to the checkpoints `live` of the live tables. Skips partitions that are not built and checkpoints that the
/// log does not have or that the new tables have already reached. Returns the number of folded events.
async fn fold_last(log: &dyn EventLog, beside: &Database, live: Vec<(u32, Checkpoint)>) -> Result<u64, ReplayError> {
    let targets: Vec<Target> = missing(beside, &live).await?.into_iter().map(|(target, _)| target).collect();
    let heads = heads(log, targets.iter().map(|target| target.partition)).await?;
    let is_in_log = |(target, head): &(Target, Target)| target.epoch == head.epoch && target.seq <= head.seq;
    let targets: Vec<Target> = targets.into_iter().zip(heads).filter(is_in_log).map(|(target, _)| target).collect();
    if targets.is_empty() { Ok(0) } else { fold_up_to(log, beside, targets).await }
}

/// Does the same as [`fold_last`] within [`LAST_WITHIN`], because projectors wait meanwhile.
async fn fold_soon(log: &dyn EventLog, beside: &Database, live: Vec<(u32, Checkpoint)>) -> Result<(), ReplayError> {
    let folded = tokio::time::timeout(LAST_WITHIN, fold_last(log, beside, live)).await;
    folded.map_err(|_| ReadError::Unavailable("folding the last events took too long".to_owned()))?.map(drop)
}

/// Returns the checkpoints of `live` that the new tables have not reached, with the number of missing events.
async fn missing(beside: &Database, live: &[(u32, Checkpoint)]) -> Result<Vec<(Target, u64)>, ReadModelError> {
    let built = projection::checkpoints(&mut *beside.connection().await?).await?;
    let lacking = |(partition, at): &(u32, Checkpoint)| {
        let (_, built) = built.iter().find(|(of, _)| of == partition)?;
        let events = seq_of(at).checked_sub(seq_of(built)).filter(|events| *events > 0)?;
        Some((Target::at(*partition, at), events))
    };
    Ok(live.iter().filter_map(lacking).collect())
}

/// Runs the transaction of the swap. Returns `false` if more than [`LAST`] events are missing.
async fn exchange(
    log: &dyn EventLog,
    live: &Database,
    beside: &Database,
    old: &SchemaName,
) -> Result<bool, ReplayError> {
    let mut connection = live.connection().await?;
    Transactions::begin_transaction(connection.deref_mut()).await?;
    let done = exchange_held(log, live, beside, old, &mut connection).await;
    end(&mut connection, matches!(done, Ok(true))).await?;
    done
}

async fn exchange_held(
    log: &dyn EventLog,
    live: &Database,
    beside: &Database,
    old: &SchemaName,
    connection: &mut AsyncPgConnection,
) -> Result<bool, ReplayError> {
    let checkpoints = tables::hold(connection).await?;
    must_be_alike(connection, live, beside).await?;
    let lacking: u64 = missing(beside, &checkpoints).await?.iter().map(|(_, events)| events).sum();
    if lacking > LAST {
        return Ok(false);
    }
    fold_soon(log, beside, checkpoints).await?;
    tables::exchange(connection, live.schema(), beside.schema(), old).await?;
    Ok(true)
}

async fn must_be_alike(
    connection: &mut AsyncPgConnection,
    live: &Database,
    beside: &Database,
) -> Result<(), ReplayError> {
    let alike = tables::are_alike(connection, beside.schema()).await?;
    if alike { Ok(()) } else { Err(ReplayError::Migrated { schema: live.schema().clone() }) }
}

/// Commits the transaction of a connection if `is_done`, and rolls it back otherwise.
async fn end(connection: &mut AsyncPgConnection, is_done: bool) -> Result<(), ReplayError> {
    Ok(if is_done {
        Transactions::commit_transaction(connection).await
    } else {
        Transactions::rollback_transaction(connection).await
    }?)
}

/// Drops the old tables after the last reader has finished. Returns their schema if that takes too long.
async fn drop_old(live: &Database, old: &SchemaName) -> Result<Option<SchemaName>, ReplayError> {
    for _ in 0..DROPS {
        match tables::drop_old(live, old).await {
            Ok(()) => return Ok(None),
            Err(error) if tables::is_busy(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(old.clone()))
}
