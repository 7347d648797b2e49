//! Leases, checkpoints and parked events of projectors.
//!
//! One projector at a time folds a partition. The lease only prevents that several projectors do the same work.
//! Correctness comes from the checkpoint: each transaction advances it from exactly the position at which it began, or
//! fails.

use crate::rows::TABLES;
use crate::statement::{Bind, Statement};
use crate::{Database, ReadModelError};
use diesel::sql_types::{Array, BigInt, Bool as SqlBool, Integer, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;
use waybill_schema::CompanyId;

/// The position up to which a partition is folded.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Checkpoint {
    /// Epoch of the stream, which identifies its incarnation.
    #[diesel(sql_type = Text)]
    pub epoch: String,
    /// Sequence of the last folded event.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Message id of that event; empty if it had none. A different id in the stream means that the stream was restored
    /// from a copy and has received other events since.
    #[diesel(sql_type = Text)]
    pub last_id: String,
}

/// A message that could not be folded, or that waits for one.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct ParkedEvent {
    /// Sequence in the stream.
    #[diesel(sql_type = BigInt)]
    pub seq: i64,
    /// Subject of the message.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// Name of the aggregate. Later events of this aggregate wait for this one.
    #[diesel(sql_type = Text)]
    pub aggregate: String,
    /// Reason why the message is parked.
    #[diesel(sql_type = Text)]
    pub reason: String,
}

/// Takes or renews the lease of a partition for `owner`. Returns the checkpoint, or `None` if another projector has the
/// lease.
///
/// # Errors
/// [`ReadModelError`].
pub fn take_lease(
    database: &Database,
    partition: u32,
    owner: Uuid,
    lease: Duration,
) -> BoxFuture<'_, Result<Option<Checkpoint>, ReadModelError>> {
    Box::pin(async move {
        let operation = "taking a lease";
        let mut connection = database.connection().await?;
        let number = signed(partition);
        sql_query(
        "INSERT INTO projection_checkpoint (partition, epoch, seq) VALUES ($1, '', 0) ON CONFLICT (partition) DO NOTHING",
    )
    .bind::<Integer, _>(number)
    .execute(&mut connection)
    .await
    .map_err(ReadModelError::query(operation))?;
        sql_query(
            "UPDATE projection_checkpoint c SET lease_owner = $2, lease_until = now() + $3 * interval '1 millisecond' \
         FROM (SELECT partition FROM projection_checkpoint WHERE partition = $1 \
               AND (lease_owner = $2 OR lease_until IS NULL OR lease_until < now()) FOR UPDATE SKIP LOCKED) free \
         WHERE c.partition = free.partition RETURNING c.epoch, c.seq, c.last_id",
        )
        .bind::<Integer, _>(number)
        .bind::<SqlUuid, _>(owner)
        .bind::<BigInt, _>(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
        .get_result(&mut connection)
        .await
        .optional()
        .map_err(ReadModelError::query(operation))
    })
}

/// The lease of a partition.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Lease {
    /// The partition.
    #[diesel(sql_type = Integer)]
    pub partition: i32,
    /// The projector that has the lease.
    #[diesel(sql_type = SqlUuid)]
    pub owner: Uuid,
}

/// Returns the leases that have not expired.
///
/// # Errors
/// [`ReadModelError`].
pub fn leases(connection: &mut AsyncPgConnection) -> BoxFuture<'_, Result<Vec<Lease>, ReadModelError>> {
    Box::pin(async move {
        sql_query(
        "SELECT partition, lease_owner AS owner FROM projection_checkpoint WHERE lease_until > now() ORDER BY partition",
    )
    .load(connection)
    .await
    .map_err(ReadModelError::query("reading leases"))
    })
}

/// Releases the lease of a partition, so that another projector can take it immediately.
///
/// # Errors
/// [`ReadModelError`].
pub fn release_lease(database: &Database, partition: u32, owner: Uuid) -> BoxFuture<'_, Result<(), ReadModelError>> {
    Box::pin(async move {
        let mut connection = database.connection().await?;
        sql_query(
            "UPDATE projection_checkpoint SET lease_owner = NULL, lease_until = NULL \
         WHERE partition = $1 AND lease_owner = $2",
        )
        .bind::<Integer, _>(signed(partition))
        .bind::<SqlUuid, _>(owner)
        .execute(&mut connection)
        .await
        .map(drop)
        .map_err(ReadModelError::query("releasing a lease"))
    })
}

/// Advances a checkpoint from `from` to `to`. Must be the first statement of the transaction that writes the events in
/// between: another projector that folds the same events waits here, and then fails.
///
/// # Errors
/// [`ReadModelError::CheckpointLost`] if the checkpoint is not at `from`.
pub fn advance<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    from: &'a Checkpoint,
    to: &'a Checkpoint,
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        let moved = Statement::new(
            "UPDATE projection_checkpoint SET epoch = :to_epoch, seq = :to_seq, last_id = :to_id \
         WHERE partition = :partition AND epoch = :epoch AND seq = :seq",
            [
                ("to_epoch", Bind::Text(to.epoch.clone())),
                ("to_seq", Bind::BigInt(to.seq)),
                ("to_id", Bind::Text(to.last_id.clone())),
                ("partition", Bind::Integer(signed(partition))),
                ("epoch", Bind::Text(from.epoch.clone())),
                ("seq", Bind::BigInt(from.seq)),
            ],
        )
        .execute(connection)
        .await
        .map_err(ReadModelError::query("advancing a checkpoint"))?;
        if moved == 1 { Ok(()) } else { Err(ReadModelError::CheckpointLost { partition }) }
    })
}

/// Returns all checkpoints, ordered by partition.
///
/// # Errors
/// [`ReadModelError`].
pub fn checkpoints(
    connection: &mut AsyncPgConnection,
) -> BoxFuture<'_, Result<Vec<(u32, Checkpoint)>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Integer)]
            partition: i32,
            #[diesel(embed)]
            checkpoint: Checkpoint,
        }
        let found: Vec<Found> =
            sql_query("SELECT partition, epoch, seq, last_id FROM projection_checkpoint ORDER BY partition")
                .load(connection)
                .await
                .map_err(ReadModelError::query("reading checkpoints"))?;
        Ok(found.into_iter().map(|row| (row.partition.unsigned_abs(), row.checkpoint)).collect())
    })
}

/// Returns the checkpoint of one partition, or `None` if nothing was folded yet.
///
/// # Errors
/// [`ReadModelError`].
pub fn checkpoint(
    connection: &mut AsyncPgConnection,
    partition: u32,
) -> BoxFuture<'_, Result<Option<Checkpoint>, ReadModelError>> {
    Box::pin(async move {
        Statement::new(
            "SELECT epoch, seq, last_id FROM projection_checkpoint WHERE partition = :partition",
            [("partition", Bind::Integer(signed(partition)))],
        )
        .get_result(connection)
        .await
        .optional()
        .map_err(ReadModelError::query("reading a checkpoint"))
    })
}

/// Returns `true` if an event of the partition is parked.
///
/// # Errors
/// [`ReadModelError`].
pub fn is_any_parked_of(
    connection: &mut AsyncPgConnection,
    partition: u32,
) -> BoxFuture<'_, Result<bool, ReadModelError>> {
    Box::pin(async move {
        let text = "SELECT EXISTS (SELECT FROM parked_event WHERE partition = :partition) AS found";
        is_found(connection, Statement::new(text, [("partition", Bind::Integer(signed(partition)))])).await
    })
}

async fn is_any_parked(connection: &mut AsyncPgConnection) -> Result<bool, ReadModelError> {
    is_found(connection, Statement::new("SELECT EXISTS (SELECT FROM parked_event) AS found", [])).await
}

async fn is_found(connection: &mut AsyncPgConnection, statement: Statement) -> Result<bool, ReadModelError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlBool)]
        found: bool,
    }
    let found: Found =
        statement.get_result(connection).await.map_err(ReadModelError::query("searching for parked events"))?;
    Ok(found.found)
}

/// Returns all parked events with their partitions, in the order of the log.
///
/// # Errors
/// [`ReadModelError`].
pub fn parked(connection: &mut AsyncPgConnection) -> BoxFuture<'_, Result<Vec<(u32, ParkedEvent)>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Integer)]
            partition: i32,
            #[diesel(embed)]
            event: ParkedEvent,
        }
        let found: Vec<Found> =
            sql_query("SELECT partition, seq, subject, aggregate, reason FROM parked_event ORDER BY partition, seq")
                .load(connection)
                .await
                .map_err(ReadModelError::query("reading parked events"))?;
        Ok(found.into_iter().map(|row| (row.partition.unsigned_abs(), row.event)).collect())
    })
}

/// Returns those of the aggregates that have a parked event. Their later events must wait.
///
/// # Errors
/// [`ReadModelError`].
pub fn blocked<'a>(
    connection: &'a mut AsyncPgConnection,
    aggregates: &'a [String],
) -> BoxFuture<'a, Result<HashSet<String>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Text)]
            aggregate: String,
        }
        // Parked events are rare. If no event is parked, the aggregates need not be sent.
        if !is_any_parked(connection).await? {
            return Ok(HashSet::new());
        }
        let found: Vec<Found> = sql_query("SELECT DISTINCT aggregate FROM parked_event WHERE aggregate = ANY($1)")
            .bind::<Array<Text>, _>(aggregates)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for parked events"))?;
        Ok(found.into_iter().map(|row| row.aggregate).collect())
    })
}

/// Parks messages. Messages that are already parked are left unchanged.
///
/// # Errors
/// [`ReadModelError`].
pub fn park<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    events: &'a [ParkedEvent],
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        for event in events {
            sql_query(
                "INSERT INTO parked_event (partition, seq, subject, aggregate, reason) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
            )
            .bind::<Integer, _>(signed(partition))
            .bind::<BigInt, _>(event.seq)
            .bind::<Text, _>(&event.subject)
            .bind::<Text, _>(&event.aggregate)
            .bind::<Text, _>(&event.reason)
            .execute(connection)
            .await
            .map_err(ReadModelError::query("parking an event"))?;
        }
        Ok(())
    })
}

/// Removes parked messages that have now been folded, which changes the incarnation of the rows.
///
/// # Errors
/// [`ReadModelError`].
pub fn unpark<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    seqs: &'a [i64],
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        let text = "WITH removed AS (DELETE FROM parked_event WHERE partition = $1 AND seq = ANY($2) RETURNING seq) \
                    UPDATE projection_checkpoint SET incarnation = gen_random_uuid() \
                    WHERE partition = $1 AND EXISTS (SELECT FROM removed)";
        sql_query(text)
            .bind::<Integer, _>(signed(partition))
            .bind::<Array<BigInt>, _>(seqs)
            .execute(connection)
            .await
            .map(drop)
            .map_err(ReadModelError::query("removing parked events"))
    })
}

/// Deletes the rows, parked events and checkpoint of a partition before it is rebuilt. `is_of` returns `true` for the
/// companies of the partition.
///
/// # Errors
/// [`ReadModelError`].
pub fn clear<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    is_of: &'a (dyn Fn(CompanyId) -> bool + Sync),
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Company {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
        }
        let operation = "emptying the tables of a partition";
        // The checkpoint comes first, so that other writers of the partition wait here.
        for text in [
            "UPDATE projection_checkpoint SET epoch = '', seq = 0, last_id = '', blocks_from = 0, incarnation = gen_random_uuid() \
             WHERE partition = $1",
            "DELETE FROM parked_event WHERE partition = $1",
        ] {
            sql_query(text)
                .bind::<Integer, _>(signed(partition))
                .execute(connection)
                .await
                .map_err(ReadModelError::query(operation))?;
        }
        let companies: Vec<Company> =
            sql_query(COMPANIES).load(connection).await.map_err(ReadModelError::query(operation))?;
        let companies: Vec<Uuid> =
            companies.into_iter().map(|company| company.id).filter(|id| is_of(CompanyId(*id))).collect();
        // Tables that refer to others come first.
        for of in TABLES.iter().rev() {
            sql_query(format!("DELETE FROM {} WHERE {} = ANY($1)", of.table, of.company))
                .bind::<Array<SqlUuid>, _>(&companies)
                .execute(connection)
                .await
                .map_err(ReadModelError::query(operation))?;
        }
        Ok(())
    })
}

/// Selects all companies, including those without a row in `company` because their first event is parked.
pub(crate) const COMPANIES: &str = "SELECT id FROM company UNION SELECT company_id FROM event_positions";

pub(crate) fn signed(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
