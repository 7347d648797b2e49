//! Bulk loading of new tables. Indexes and foreign keys are dropped before and created at the end, which takes a
//! fraction of the time.
//!
//! The dropped definitions are stored in a table of the schema, so that an interrupted rebuild can be resumed by
//! another process.

use crate::digest::tables;
use crate::{Database, ReadModelError};
use diesel::sql_types::{BigInt, Bool as SqlBool, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use std::ops::DerefMut;

const PUTTING_OFF: &str = "dropping indexes and foreign keys";
const MAKING: &str = "creating indexes and foreign keys";

/// Drops indexes and foreign keys. Unique indexes are kept because upserts need them, and the indexes of `parked_event`
/// because it is queried during the rebuild.
///
/// The index of each partition keeps its name. If PostgreSQL chose the names, concurrent statements would choose the same.
const PUT_OFF: &str = "
CREATE TABLE rebuild_put_off (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, is_index BOOLEAN NOT NULL, statement TEXT NOT NULL);
INSERT INTO rebuild_put_off (is_index, statement)
    SELECT false, format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND connamespace = current_schema()::regnamespace
    ORDER BY oid;
INSERT INTO rebuild_put_off (is_index, statement)
    SELECT true, concat_ws('; ', pg_get_indexdef(i.indexrelid), (
        SELECT string_agg(
            format('%s; ALTER INDEX %s ATTACH PARTITION %s',
                pg_get_indexdef(inhrelid), inhparent::regclass, inhrelid::regclass),
            '; ' ORDER BY inhrelid)
        FROM pg_inherits WHERE inhparent = i.indexrelid))
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisunique AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
        AND i.indrelid <> 'parked_event'::regclass
    ORDER BY c.oid;
DO $$
DECLARE
    gone RECORD;
BEGIN
    FOR gone IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
        WHERE contype = 'f' AND conparentid = 0 AND connamespace = current_schema()::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', gone.of, gone.conname);
    END LOOP;
    FOR gone IN SELECT c.oid::regclass AS index FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE NOT i.indisunique AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
            AND i.indrelid <> 'parked_event'::regclass
    LOOP
        EXECUTE format('DROP INDEX %s', gone.index);
    END LOOP;
END
$$;
";

/// Drops the foreign keys and the non-unique indexes of the tables until [`make`] creates them again. The tables must
/// be new and not in use by others.
///
/// # Errors
/// [`ReadModelError`].
pub fn put_off(database: &Database) -> BoxFuture<'_, Result<(), ReadModelError>> {
    Box::pin(async move {
        if is_put_off(database).await? {
            return Ok(());
        }
        let mut connection = database.connection().await?;
        connection
            .deref_mut()
            .transaction(async |connection: &mut AsyncPgConnection| {
                connection.batch_execute(PUT_OFF).await.map_err(ReadModelError::query(PUTTING_OFF))
            })
            .await
    })
}

/// Returns `true` if indexes or foreign keys were dropped and not created again.
///
/// # Errors
/// [`ReadModelError`].
pub fn is_put_off(database: &Database) -> BoxFuture<'_, Result<bool, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = SqlBool)]
            found: bool,
        }
        let found: Found = sql_query("SELECT to_regclass('rebuild_put_off') IS NOT NULL AS found")
            .get_result(&mut database.connection().await?)
            .await
            .map_err(ReadModelError::query(PUTTING_OFF))?;
        Ok(found.found)
    })
}

/// A dropped index or foreign key.
#[derive(QueryableByName)]
struct PutOff {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = SqlBool)]
    is_index: bool,
    #[diesel(sql_type = Text)]
    statement: String,
}

/// Creates the dropped foreign keys and indexes, up to `at_once` indexes concurrently. Then analyzes the tables, so
/// that PostgreSQL plans queries well from the start.
///
/// # Errors
/// [`ReadModelError`]; a foreign key violation if rows refer to missing rows.
pub fn make(database: &Database, at_once: usize) -> BoxFuture<'_, Result<(), ReadModelError>> {
    Box::pin(async move {
        let put_off: Vec<PutOff> = sql_query("SELECT id, is_index, statement FROM rebuild_put_off ORDER BY id")
            .load(&mut database.connection().await?)
            .await
            .map_err(ReadModelError::query(MAKING))?;
        let (indexes, keys): (Vec<PutOff>, Vec<PutOff>) = put_off.into_iter().partition(|one| one.is_index);
        // Foreign keys come first, because a violation means that the rebuild must start again.
        for key in keys {
            make_one(database, &key).await?;
        }
        let making: Vec<BoxFuture<'_, _>> = indexes.iter().map(|index| make_one(database, index).boxed()).collect();
        stream::iter(making).buffer_unordered(at_once.max(1)).try_collect::<()>().await?;
        analyze(database).await?;
        let mut connection = database.connection().await?;
        connection.batch_execute("DROP TABLE rebuild_put_off").await.map_err(ReadModelError::query(MAKING))
    })
}

async fn make_one(database: &Database, one: &PutOff) -> Result<(), ReadModelError> {
    let mut connection = database.connection().await?;
    connection
        .deref_mut()
        .transaction(async |connection: &mut AsyncPgConnection| {
            let settings = "SET LOCAL maintenance_work_mem = '128MB'; SET LOCAL max_parallel_maintenance_workers = 0";
            let done = format!("DELETE FROM rebuild_put_off WHERE id = {}", one.id);
            for text in [settings, &one.statement, &done] {
                connection.batch_execute(text).await.map_err(ReadModelError::query(MAKING))?;
            }
            Ok(())
        })
        .await
}

async fn analyze(database: &Database) -> Result<(), ReadModelError> {
    let tables: Vec<&str> = tables().map(|(_, table)| table).collect();
    let mut connection = database.connection().await?;
    connection.batch_execute(&format!("ANALYZE {}", tables.join(", "))).await.map_err(ReadModelError::query(MAKING))
}
