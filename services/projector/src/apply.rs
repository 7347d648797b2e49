//! Folds a batch of events in one transaction, and parks events that do not fit.

use crate::fold::{AllTables, Rows, Tables, Touched, aggregate_key};
use crate::metrics;
use crate::writing::{Refused, is_unclear, write};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::collections::{BTreeSet, HashSet};
use std::ops::DerefMut;
use waybill_event_log::{ReadError, Stored};
use waybill_read_model::projection::{self, Checkpoint, ParkedEvent};
use waybill_read_model::rows::{Key, Row, Write, load};
use waybill_read_model::{Database, MetadataKeys, ReadModelError, with_tables};
use waybill_schema::Subject;

/// Reason why events could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// PostgreSQL failed.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
}

/// Folds `batch`, which begins after `from`, and moves the checkpoint to its end. Parks an event that does not fit
/// together with later events of its aggregate, so that it does not block all other events forever.
pub(crate) async fn apply(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    epoch: &str,
    batch: &[Stored],
) -> Result<Checkpoint, ProjectError> {
    let reason = match apply_once(database, partition, from, epoch, batch, None).await {
        Ok(at) => return Ok(at),
        Err(Refused::ReadModel(error)) => return Err(error.into()),
        Err(Refused::Event(reason)) => reason,
    };
    if batch.len() > 1 {
        tracing::warn!(partition, events = batch.len(), reason, "cannot fold a batch; folding its halves");
        let (front, back) = batch.split_at(batch.len() / 2);
        let at = Box::pin(apply(database, partition, from, epoch, front)).await?;
        return Box::pin(apply(database, partition, &at, epoch, back)).await;
    }
    match apply_once(database, partition, from, epoch, batch, Some(&reason)).await {
        Ok(at) => Ok(at),
        Err(Refused::ReadModel(error)) => Err(error.into()),
        Err(Refused::Event(reason)) => {
            Err(ReadModelError::Unavailable { operation: "parking an event", reason }.into())
        }
    }
}

/// Folds the whole batch or nothing, in one transaction. If `park` has a reason, the batch has one event, which is
/// parked.
async fn apply_once(
    database: &Database,
    partition: u32,
    from: &Checkpoint,
    epoch: &str,
    batch: &[Stored],
    park: Option<&str>,
) -> Result<Checkpoint, Refused> {
    let mut writing = Writing { database, is_to_tell: false };
    let done = try_once(&writing, partition, from, epoch, batch, park).await;
    if !is_unclear(&done) {
        return done;
    }
    writing.is_to_tell = true;
    try_once(&writing, partition, from, epoch, batch, park).await
}

/// The tables and the way in which rows are written.
struct Writing<'a> {
    database: &'a Database,
    /// `true` if the statements must report the SQLSTATE of an error.
    is_to_tell: bool,
}

async fn try_once(
    writing: &Writing<'_>,
    partition: u32,
    from: &Checkpoint,
    epoch: &str,
    batch: &[Stored],
    park: Option<&str>,
) -> Result<Checkpoint, Refused> {
    let to = batch.last().map_or_else(|| from.clone(), |last| checkpoint_at(epoch, last));
    let mut connection = writing.database.connection().await?;
    let (advanced, keys) = (to.clone(), writing.database.metadata_keys());
    let parked = connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            projection::advance(connection, partition, from, &advanced).await?;
            let (tables, parked) = fold(connection, batch, park, keys).await?;
            write(connection, &writes(&tables)?, writing.is_to_tell).await?;
            projection::park(connection, partition, &parked).await?;
            Ok::<_, Refused>(parked)
        })
        .await?;
    for event in &parked {
        metrics::PARKED_EVENTS.inc();
        tracing::error!(
            partition,
            seq = event.seq,
            subject = event.subject,
            reason = event.reason,
            "parked an event that could not be folded"
        );
    }
    metrics::FOLDED_SEQ.with_label_values(&[partition.to_string()]).set(to.seq);
    Ok(to)
}

async fn fold(
    connection: &mut AsyncPgConnection,
    batch: &[Stored],
    park: Option<&str>,
    keys: &MetadataKeys,
) -> Result<(AllTables, Vec<ParkedEvent>), Refused> {
    let readable = batch.iter().filter_map(|stored| stored.event.as_ref().ok());
    let aggregates: Vec<String> = readable.map(|recorded| aggregate_key(&recorded.subject)).collect();
    let mut tables = AllTables::new(keys);
    let mut touched = Touched::by(batch);
    if park.is_some() {
        // A parked event changes only the row that records its position.
        touched = Touched { blocks: touched.blocks, ..Touched::default() };
    }
    load_missing(connection, &touched, &mut tables).await?;
    let mut blocked: HashSet<String> = projection::blocked(connection, &aggregates).await?;
    let mut parked = Vec::new();
    for stored in batch {
        tables.note(stored);
        let (aggregate, reason) = match &stored.event {
            Err(error) => {
                let known = Subject::parse(&stored.subject);
                (known.map_or_else(|_| stored.subject.clone(), |subject| aggregate_key(&subject)), error.to_string())
            }
            Ok(recorded) => match (aggregate_key(&recorded.subject), park) {
                (aggregate, _) if blocked.contains(&aggregate) => {
                    (aggregate, "an earlier event of its aggregate is parked".to_owned())
                }
                (aggregate, Some(reason)) => (aggregate, reason.to_owned()),
                (_, None) => {
                    tables.fold(recorded).map_err(|misfit| Refused::Event(misfit.to_string()))?;
                    continue;
                }
            },
        };
        blocked.insert(aggregate.clone());
        parked.push(ParkedEvent { seq: seq_of(stored), subject: stored.subject.clone(), aggregate, reason });
    }
    Ok((tables, parked))
}

/// Loads the rows that events touch, except those that `tables` already contains.
pub(crate) async fn load_missing(
    connection: &mut AsyncPgConnection,
    touched: &Touched,
    tables: &mut AllTables,
) -> Result<(), ReadModelError> {
    async fn of<R: Row>(
        connection: &mut AsyncPgConnection,
        keys: &BTreeSet<Key>,
        tables: &mut AllTables,
        rows: fn(&mut Tables) -> &mut Rows<R>,
    ) -> Result<(), ReadModelError> {
        let missing: Vec<Key> = keys.iter().copied().filter(|(company, id)| !tables.has(*company, *id, rows)).collect();
        tables.extend(load(connection, missing).await?, rows);
        Ok(())
    }
    macro_rules! load_all {
        ($($name:ident: $row:ty,)*) => {
            $(of(connection, &touched.$name, tables, |of| &mut of.$name).await?;)*
        };
    }
    with_tables!(load_all);
    Ok(())
}

/// Returns the statements that write all changes. Referenced tables come first.
pub(crate) fn writes(tables: &AllTables) -> Result<Vec<Write>, ReadModelError> {
    fn of<R: Row>(
        tables: &AllTables,
        rows: fn(&Tables) -> &Rows<R>,
        all: &mut Vec<Write>,
    ) -> Result<(), ReadModelError> {
        // Rows are deleted first because a new row may have the same key.
        all.extend(Write::delete::<R>(tables.removed(rows)));
        all.extend(Write::upsert(&tables.changed(rows))?);
        all.extend(Write::insert(&tables.new_rows(rows))?);
        Ok(())
    }
    let mut all = Vec::new();
    macro_rules! write_all {
        ($($name:ident: $row:ty,)*) => {
            $(of(tables, |of| &of.$name, &mut all)?;)*
        };
    }
    with_tables!(write_all);
    Ok(all)
}

/// Returns the checkpoint after event `last`.
pub(crate) fn checkpoint_at(epoch: &str, last: &Stored) -> Checkpoint {
    Checkpoint { epoch: epoch.to_owned(), seq: seq_of(last), last_id: last.message_id.clone().unwrap_or_default() }
}

pub(crate) fn seq_of(stored: &Stored) -> i64 {
    i64::try_from(stored.position.seq).unwrap_or(i64::MAX)
}
