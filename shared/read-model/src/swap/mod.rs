//! Replaces the live tables with rebuilt tables in another schema.
//!
//! All tables are replaced by renaming the schemas. A rename locks no table, so queries do not wait, and PostgreSQL
//! plans a prepared statement again if the names of its tables refer to other tables. A single partition is replaced
//! row by row ([`put_right`]).

mod rights;
mod rows;

pub use rights::{copy_rights, strangers};
pub use rows::{PutRight, put_right};

use crate::projection::{self, Checkpoint};
use crate::{Database, ReadModelError, SchemaName};
use diesel::sql_types::{BigInt, Integer};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use std::ops::DerefMut;

const SWAPPING: &str = "swapping schemas";

/// Maximum time in ms that a swap waits for the transactions of projectors and for migrations. Later transactions wait
/// for the swap for the same time.
const LOCK_WITHIN_MS: u32 = 2_000;

/// Maximum time in ms for folding the last events.
const IDLE_WITHIN_MS: u32 = 10_000;

/// Maximum time in ms that a drop waits for readers of old tables. Shorter than the time after which PostgreSQL checks
/// for deadlocks (1 s), so that the drop fails and not a query.
const DROP_WITHIN_MS: u32 = 300;

/// Comment on a replaced schema. Schemas with this comment can be dropped.
const REPLACED: &str = "replaced by waybill replay --swap";

/// Returns the statements at the start of every transaction of a swap. They limit the time for which locks of other
/// transactions or a hanging process can delay the projectors.
fn limits() -> String {
    format!(
        "SET LOCAL lock_timeout = {LOCK_WITHIN_MS}; SET LOCAL idle_in_transaction_session_timeout = {IDLE_WITHIN_MS}"
    )
}

/// Blocks all projections and migrations until the transaction ends, and returns the checkpoints. Queries are not
/// blocked.
///
/// # Errors
/// [`ReadModelError`]; see [`is_busy`].
pub fn hold(connection: &mut AsyncPgConnection) -> BoxFuture<'_, Result<Vec<(u32, Checkpoint)>, ReadModelError>> {
    Box::pin(async move {
        connection
            .batch_execute(&format!(
                "{}; \
             SELECT pg_advisory_xact_lock(hashtext('waybill migrations')); \
             LOCK TABLE projection_checkpoint IN SHARE ROW EXCLUSIVE MODE",
                limits()
            ))
            .await
            .map_err(ReadModelError::query(SWAPPING))?;
        projection::checkpoints(connection).await
    })
}

/// Blocks the projection of one partition until the transaction ends, and returns its checkpoint.
///
/// # Errors
/// [`ReadModelError`]; see [`is_busy`].
pub fn hold_one(
    connection: &mut AsyncPgConnection,
    partition: u32,
) -> BoxFuture<'_, Result<Checkpoint, ReadModelError>> {
    Box::pin(async move {
        connection
            .batch_execute(&format!(
                "{}; INSERT INTO projection_checkpoint (partition, epoch, seq) VALUES ({partition}, '', 0) \
             ON CONFLICT (partition) DO NOTHING",
                limits()
            ))
            .await
            .map_err(ReadModelError::query(SWAPPING))?;
        sql_query("SELECT epoch, seq, last_id FROM projection_checkpoint WHERE partition = $1 FOR UPDATE")
            .bind::<Integer, _>(projection::signed(partition))
            .get_result(connection)
            .await
            .map_err(ReadModelError::query(SWAPPING))
    })
}

/// Returns `true` if a lock was not available in time, so that the operation can be tried again.
pub fn is_busy(error: &ReadModelError) -> bool {
    matches!(error, ReadModelError::Query { source, .. } if source.to_string().contains("lock timeout"))
}

/// Copies the times of the last reads of files, which are not in the log, from the tables of the connection.
///
/// # Errors
/// [`ReadModelError`].
pub fn copy_reads<'a>(
    connection: &'a mut AsyncPgConnection,
    beside: &'a SchemaName,
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        let text = format!(
            "INSERT INTO {beside}.file_read SELECT * FROM file_read \
             ON CONFLICT (company_id, file_id) DO UPDATE SET read_at = EXCLUDED.read_at"
        );
        connection.batch_execute(&text).await.map_err(ReadModelError::query(SWAPPING))
    })
}

/// Renames the schema `live` to `old`, and `beside` to `live`. Must be called in the transaction that began with
/// [`hold`], on a connection of `live`. The projectors keep their leases.
///
/// # Errors
/// [`ReadModelError`].
pub fn exchange<'a>(
    connection: &'a mut AsyncPgConnection,
    live: &'a SchemaName,
    beside: &'a SchemaName,
    old: &'a SchemaName,
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        connection
            .batch_execute(&format!(
                "UPDATE {beside}.projection_checkpoint n SET lease_owner = o.lease_owner, lease_until = o.lease_until \
             FROM projection_checkpoint o WHERE o.partition = n.partition; \
             INSERT INTO {beside}.projector SELECT * FROM projector ON CONFLICT DO NOTHING; \
             INSERT INTO {beside}.sweeper SELECT * FROM sweeper ON CONFLICT DO NOTHING; \
             INSERT INTO {beside}.compressor SELECT * FROM compressor ON CONFLICT DO NOTHING; \
             ALTER SCHEMA {live} RENAME TO {old}; \
             COMMENT ON SCHEMA {old} IS '{REPLACED}'; \
             ALTER SCHEMA {beside} RENAME TO {live}"
            ))
            .await
            .map_err(ReadModelError::query(SWAPPING))
    })
}

/// Returns `true` if both schemas have the same migrations.
///
/// # Errors
/// [`ReadModelError`].
pub fn are_alike<'a>(
    connection: &'a mut AsyncPgConnection,
    beside: &'a SchemaName,
) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    Box::pin(async move {
        let text = format!(
            "SELECT count(*) AS number FROM __diesel_schema_migrations o \
         FULL JOIN {beside}.__diesel_schema_migrations n USING (version) WHERE o.run_on IS NULL OR n.run_on IS NULL"
        );
        Ok(count(connection, text).await? == 0)
    })
}

/// Returns `true` if the schema exists and is not the remainder of a swap.
///
/// # Errors
/// [`ReadModelError`].
pub fn is_taken<'a>(database: &'a Database, schema: &'a SchemaName) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    Box::pin(async move {
        let text = format!(
            "SELECT count(*) AS number FROM pg_namespace \
         WHERE nspname = '{schema}' AND obj_description(oid, 'pg_namespace') IS DISTINCT FROM '{REPLACED}'"
        );
        Ok(count(&mut *database.connection().await?, text).await? > 0)
    })
}

/// Drops a schema that was replaced. If queries still read it, the error is one for which [`is_busy`] returns `true`.
///
/// # Errors
/// [`ReadModelError`].
pub fn drop_old<'a>(database: &'a Database, old: &'a SchemaName) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        let mut connection = database.connection().await?;
        connection
            .deref_mut()
            .transaction(async |connection: &mut AsyncPgConnection| {
                let text = format!("SET LOCAL lock_timeout = {DROP_WITHIN_MS}; DROP SCHEMA IF EXISTS {old} CASCADE");
                connection.batch_execute(&text).await.map_err(ReadModelError::query("dropping the old tables"))
            })
            .await
    })
}

async fn count(connection: &mut AsyncPgConnection, text: String) -> Result<i64, ReadModelError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let found: Found = sql_query(text).get_result(connection).await.map_err(ReadModelError::query(SWAPPING))?;
    Ok(found.number)
}
