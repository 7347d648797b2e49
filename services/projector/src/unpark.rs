//! Folds parked events again. A newer projector can read events that an older one could not.

use crate::apply::{ProjectError, load_missing, writes};
use crate::fold::{AllTables, Touched};
use crate::writing::{Refused, is_unclear, write};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures_util::future::BoxFuture;
use std::collections::{BTreeSet, HashMap};
use std::ops::DerefMut;
use std::time::Duration;
use waybill_event_log::EventLog;
use waybill_read_model::projection::{self, Checkpoint, ParkedEvent};
use waybill_read_model::{Database, ReadModelError};
use waybill_schema::{Position, Recorded};

/// Folds the parked events of a partition whose checkpoint is `at`. For each aggregate, folds the events up to the
/// first unreadable one, in the order of the log and in one transaction. Events that are unreadable or do not fit stay
/// parked.
pub(crate) async fn unpark(
    log: &dyn EventLog,
    database: &Database,
    partition: u32,
    at: &Checkpoint,
) -> Result<(), ProjectError> {
    // A further pass folds events that depend on the events of the previous pass.
    while pass(log, database, partition, at).await? > 0 {}
    Ok(())
}

/// Number of retries for a partition whose checkpoint moves during the attempt.
const ATTEMPTS: u32 = 100;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Folds all parked events of the projection that can now be read and that fit. Projectors can keep running. Returns
/// the positions of the folded events.
///
/// # Errors
/// [`ProjectError`], also if the checkpoint of a partition moves during every attempt.
pub fn fold_parked<'a>(
    log: &'a dyn EventLog,
    database: &'a Database,
) -> BoxFuture<'a, Result<Vec<Position>, ProjectError>> {
    Box::pin(unpark_all(log, database))
}

async fn unpark_all(log: &dyn EventLog, database: &Database) -> Result<Vec<Position>, ProjectError> {
    let before = parked_positions(database).await?;
    let partitions: BTreeSet<u32> = before.iter().map(|position| position.partition).collect();
    for partition in partitions {
        let mut attempt = 0;
        loop {
            let Some(at) = projection::checkpoint(&mut *database.connection().await?, partition).await? else { break };
            match unpark(log, database, partition, &at).await {
                Ok(()) => break,
                Err(ProjectError::ReadModel(ReadModelError::CheckpointLost { .. })) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
    let after: BTreeSet<Position> = parked_positions(database).await?.into_iter().collect();
    Ok(before.into_iter().filter(|position| !after.contains(position)).collect())
}

async fn parked_positions(database: &Database) -> Result<Vec<Position>, ProjectError> {
    let parked = projection::parked(&mut *database.connection().await?).await?;
    let position = |(partition, event): (u32, ParkedEvent)| Position { partition, seq: event.seq.unsigned_abs() };
    Ok(parked.into_iter().map(position).collect())
}

/// Tries each aggregate once, ordered by first parked event. Returns the number of folded events.
async fn pass(log: &dyn EventLog, database: &Database, partition: u32, at: &Checkpoint) -> Result<usize, ProjectError> {
    let mut connection = database.connection().await?;
    let all = projection::parked(&mut connection).await?;
    drop(connection);
    let mut aggregates: HashMap<String, Vec<ParkedEvent>> = HashMap::new();
    for (_, event) in all.into_iter().filter(|(of, _)| *of == partition) {
        aggregates.entry(event.aggregate.clone()).or_default().push(event);
    }
    let mut aggregates: Vec<(String, Vec<ParkedEvent>)> = aggregates.into_iter().collect();
    aggregates.sort_by_key(|(_, events)| events.first().map(|event| event.seq));
    let mut folded = 0;
    for (aggregate, parked) in aggregates {
        let mut readable: Vec<Recorded> = Vec::new();
        for event in &parked {
            let found = log.at(Position { partition, seq: event.seq.unsigned_abs() }).await?;
            let Some(Ok(recorded)) = found.map(|stored| stored.event) else { break };
            readable.push(recorded);
        }
        if readable.is_empty() {
            continue;
        }
        match fold(database, partition, at, &readable).await {
            Ok(()) => {
                folded += readable.len();
                tracing::info!(partition, aggregate, events = readable.len(), "folded parked events");
            }
            Err(Refused::Event(reason)) => tracing::warn!(partition, aggregate, reason, "cannot fold parked events"),
            Err(Refused::ReadModel(error)) => return Err(error.into()),
        }
    }
    Ok(folded)
}

async fn fold(database: &Database, partition: u32, at: &Checkpoint, events: &[Recorded]) -> Result<(), Refused> {
    let done = try_to_fold(database, partition, at, events, false).await;
    if is_unclear(&done) { try_to_fold(database, partition, at, events, true).await } else { done }
}

async fn try_to_fold(
    database: &Database,
    partition: u32,
    at: &Checkpoint,
    events: &[Recorded],
    is_to_tell: bool,
) -> Result<(), Refused> {
    let mut connection = database.connection().await?;
    connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            // This locks the checkpoint, so no projector folds the partition at the same time.
            projection::advance(connection, partition, at, at).await?;
            let (mut touched, mut tables) = (Touched::default(), AllTables::new(database.metadata_keys()));
            events.iter().for_each(|recorded| touched.add(recorded));
            load_missing(connection, &touched, &mut tables).await?;
            for recorded in events {
                tables.fold(recorded).map_err(|misfit| Refused::Event(misfit.to_string()))?;
            }
            write(connection, &writes(&tables)?, is_to_tell).await?;
            let seqs: Vec<i64> =
                events.iter().map(|recorded| i64::try_from(recorded.position.seq).unwrap_or(i64::MAX)).collect();
            projection::unpark(connection, partition, &seqs).await?;
            Ok::<_, Refused>(())
        })
        .await
}
