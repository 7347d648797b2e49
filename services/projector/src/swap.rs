//! Building the tables anew beside the live ones, and putting them in their place while everything goes on.
//!
//! Nobody stops for it. The new tables are folded up to where the live ones are; then a short transaction holds up the
//! projectors, the last events are folded, and the schemas change names. The projectors go on from the same checkpoints,
//! with the leases that they have.

use crate::rebuild::{Target, fold_up_to, heads, seq_of};
use crate::replay::{Comparison, ReplayError, look};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::future::BoxFuture;
use std::ops::DerefMut;
use std::time::Duration;
use waybill_event_log::{EventLog, ReadError};
use waybill_read_model::projection::{self, Checkpoint};
use waybill_read_model::swap::{self as tables, PutRight};
use waybill_read_model::{Database, ReadModelError, SchemaName, digests};

/// How many events may be folded while the projectors wait: some tenths of a second.
const LAST: u64 = 1_000;

/// How often the last step is tried, while projectors are further ahead than that or do not let their locks go.
const ATTEMPTS: u32 = 100;

/// How often, five times a second, it is looked whether the live tables have come as far as the new ones.
const LOOKS: u32 = 50;

/// How long the last events may take to be folded.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// How often, a second apart, it is tried to drop the old tables.
const DROPS: u32 = 60;

type Transactions = AnsiTransactionManager;

/// What a swap did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// What the live tables held, and what those hold that are live now, as of the same events. `None` if the live ones were
    /// so far behind the log that they could not be compared.
    pub comparison: Option<Comparison>,
    /// A schema with the old tables, if somebody reads them still.
    pub left: Option<SchemaName>,
}

/// Builds all tables anew beside the live ones, and puts them in their place; nothing needs to stop. Goes on with what an
/// interrupted swap has built.
///
/// # Errors
/// [`ReplayError`]; the live tables are then as they were.
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
    // What an earlier swap left.
    let left = drop_old(live, &old).await?;
    if left.is_some() {
        return Err(ReplayError::Busy { schema: old });
    }
    let beside = build(log, live, log.partitions().all().collect()).await?;
    let comparison = compare(log, live, &beside).await?;
    tables::copy_rights(live, beside.schema()).await?;
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

/// Builds the rows of one partition anew beside the live ones, and makes those what they should be: only rows that differ
/// are written, and only projections of that partition wait meanwhile. Answers with what was done to each table.
///
/// # Errors
/// [`ReplayError`]; the live tables are then as they were.
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

/// Tables beside the live ones that hold all that these partitions have had by now.
async fn build(log: &dyn EventLog, live: &Database, partitions: Vec<u32>) -> Result<Database, ReplayError> {
    let name = live.schema();
    let beside = name.with_ending("_next").map_err(|_| ReplayError::LongName(name.clone()))?;
    let beside = live.in_schema(beside)?;
    beside.migrate().await?;
    let heads = heads(log, partitions.into_iter()).await?;
    match fold_up_to(log, &beside, heads.clone()).await {
        Err(ReplayError::OtherStream { .. }) => {
            tracing::warn!(schema = %beside.schema(), "what was built before is of another stream; building it anew");
            beside.drop_schema().await?;
            beside.migrate().await?;
            fold_up_to(log, &beside, heads).await?;
        }
        done => drop(done?),
    }
    Ok(beside)
}

/// What the live tables hold, and what the new ones hold as of the same events; `None` if the live ones do not come that far.
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

/// Folds up to where the live tables are, until few events are missing.
async fn catch_up(log: &dyn EventLog, live: &Database, beside: &Database) -> Result<(), ReplayError> {
    for _ in 0..ATTEMPTS {
        let checkpoints = projection::checkpoints(&mut *live.connection().await?).await?;
        if fold_last(log, beside, checkpoints).await? <= LAST {
            break;
        }
    }
    Ok(())
}

/// Folds up to these checkpoints of the live tables, but for partitions that are not built, and checkpoints that are none in the
/// log, or are behind.
async fn fold_last(log: &dyn EventLog, beside: &Database, live: Vec<(u32, Checkpoint)>) -> Result<u64, ReplayError> {
    let targets: Vec<Target> = missing(beside, &live).await?.into_iter().map(|(target, _)| target).collect();
    let heads = heads(log, targets.iter().map(|target| target.partition)).await?;
    let is_in_log = |(target, head): &(Target, Target)| target.epoch == head.epoch && target.seq <= head.seq;
    let targets: Vec<Target> = targets.into_iter().zip(heads).filter(is_in_log).map(|(target, _)| target).collect();
    if targets.is_empty() { Ok(0) } else { fold_up_to(log, beside, targets).await }
}

/// The same, while projectors wait for it.
async fn fold_soon(log: &dyn EventLog, beside: &Database, live: Vec<(u32, Checkpoint)>) -> Result<(), ReplayError> {
    let folded = tokio::time::timeout(LAST_WITHIN, fold_last(log, beside, live)).await;
    folded.map_err(|_| ReadError::Unavailable("the last events of a swap took too long".to_owned()))?.map(drop)
}

/// What the tables beside lack of these checkpoints, and how many events that is in each partition.
async fn missing(beside: &Database, live: &[(u32, Checkpoint)]) -> Result<Vec<(Target, u64)>, ReadModelError> {
    let built = projection::checkpoints(&mut *beside.connection().await?).await?;
    let lacking = |at: &(u32, Checkpoint)| {
        let (_, built) = built.iter().find(|(partition, _)| *partition == at.0)?;
        let events = seq_of(&at.1).checked_sub(seq_of(built)).filter(|events| *events > 0)?;
        Some((Target::from(at), events))
    };
    Ok(live.iter().filter_map(lacking).collect())
}

/// The transaction of the swap; `false` if there is too much to be folded.
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

/// Ends the transaction of a connection.
async fn end(connection: &mut AsyncPgConnection, is_done: bool) -> Result<(), ReplayError> {
    Ok(if is_done {
        Transactions::commit_transaction(connection).await
    } else {
        Transactions::rollback_transaction(connection).await
    }?)
}

/// Drops the tables that were live, once nobody reads them any more; answers with their schema if that did not come.
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
