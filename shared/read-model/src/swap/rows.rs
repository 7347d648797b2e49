//! Replaces the live rows of one partition with rebuilt rows from another schema.

use crate::projection::{COMPANIES, signed};
use crate::rows::Row;
use crate::{ReadModelError, SchemaName, with_tables};
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{Array, Integer, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_schema::CompanyId;

const PUTTING_RIGHT: &str = "correcting the rows of a partition";

/// Number of corrected rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRight {
    /// The table.
    pub table: String,
    /// Number of rows that were missing or different.
    pub written: usize,
    /// Number of rows that were deleted because the rebuild does not have them.
    pub deleted: usize,
}

/// Makes the rows and the checkpoint of a partition equal to those in `beside`. Writes only rows that differ. `is_of`
/// returns `true` for the companies of the partition. Must be called in a transaction that has locked the checkpoint.
///
/// # Errors
/// [`ReadModelError`].
pub fn put_right<'a>(
    connection: &'a mut AsyncPgConnection,
    beside: &'a SchemaName,
    partition: u32,
    is_of: &'a (dyn Fn(CompanyId) -> bool + Sync),
) -> BoxFuture<'a, Result<Vec<PutRight>, ReadModelError>> {
    Box::pin(async move {
        let companies = companies(connection, beside, is_of).await?;
        let mut done = all(beside);
        // Tables that refer to others are deleted from first and written to last.
        for one in done.iter_mut().rev() {
            one.done.deleted = on_companies(connection, &one.delete, &companies).await?;
        }
        for one in &mut done {
            one.done.written = on_companies(connection, &one.write, &companies).await?;
        }
        take_state(connection, beside, partition).await?;
        Ok(done.into_iter().map(|one| one.done).collect())
    })
}

struct OfTable {
    done: PutRight,
    delete: String,
    write: String,
}

macro_rules! tables {
    ($($name:ident: $row:ty,)*) => {
        /// Returns the statements for all tables.
        fn all(beside: &SchemaName) -> Vec<OfTable> {
            vec![$(of::<$row>(beside),)*]
        }
    };
}

with_tables!(tables);

fn of<R: Row>(beside: &SchemaName) -> OfTable {
    let table = R::TABLE;
    let company = R::COMPANY;
    let same = |left: &str, right: &str| {
        let columns = R::KEY.split(", ").map(|column| format!("{left}.{column} = {right}.{column}"));
        columns.collect::<Vec<_>>().join(" AND ")
    };
    let list = |of: &str| R::COLUMNS.iter().map(|column| format!("{of}{column}")).collect::<Vec<_>>().join(", ");
    let sets: Vec<String> = R::COLUMNS.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    let (sets, matches) = (sets.join(", "), same("o", "n"));
    OfTable {
        done: PutRight { table: R::NAME.to_owned(), written: 0, deleted: 0 },
        delete: format!(
            "DELETE FROM {table} o WHERE o.{company} = ANY($1) \
             AND NOT EXISTS (SELECT FROM {beside}.{table} n WHERE {matches})"
        ),
        write: format!(
            "INSERT INTO {table} ({columns}) SELECT {new} FROM {beside}.{table} n LEFT JOIN {table} o ON {matches} \
             WHERE n.{company} = ANY($1) AND (o.{company} IS NULL OR ({new}) IS DISTINCT FROM ({old})) \
             ON CONFLICT ({key}) DO UPDATE SET {sets}",
            columns = list(""),
            new = list("n."),
            old = list("o."),
            key = R::KEY,
        ),
    }
}

async fn on_companies(
    connection: &mut AsyncPgConnection,
    text: &str,
    companies: &[Uuid],
) -> Result<usize, ReadModelError> {
    let statement = sql_query(text).bind::<Array<SqlUuid>, _>(companies);
    statement.execute(connection).await.map_err(ReadModelError::query(PUTTING_RIGHT))
}

async fn companies(
    connection: &mut AsyncPgConnection,
    beside: &SchemaName,
    is_of: &(dyn Fn(CompanyId) -> bool + Sync),
) -> Result<Vec<Uuid>, ReadModelError> {
    #[derive(QueryableByName)]
    struct Company {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
    }
    let companies: Vec<Company> = sql_query(format!("{COMPANIES} UNION SELECT id FROM {beside}.company"))
        .load(connection)
        .await
        .map_err(ReadModelError::query(PUTTING_RIGHT))?;
    Ok(companies.into_iter().map(|company| company.id).filter(|id| is_of(CompanyId(*id))).collect())
}

/// Copies the parked events and the checkpoint of the partition.
async fn take_state(
    connection: &mut AsyncPgConnection,
    beside: &SchemaName,
    partition: u32,
) -> Result<(), ReadModelError> {
    for text in [
        "DELETE FROM parked_event WHERE partition = $1".to_owned(),
        format!("INSERT INTO parked_event SELECT * FROM {beside}.parked_event WHERE partition = $1"),
        format!(
            "INSERT INTO projection_checkpoint (partition, epoch, seq, last_id, blocks_from) \
             SELECT partition, epoch, seq, last_id, blocks_from FROM {beside}.projection_checkpoint \
             WHERE partition = $1 \
             ON CONFLICT (partition) DO UPDATE SET epoch = EXCLUDED.epoch, seq = EXCLUDED.seq, \
                 last_id = EXCLUDED.last_id, blocks_from = EXCLUDED.blocks_from, incarnation = gen_random_uuid()"
        ),
    ] {
        sql_query(text)
            .bind::<Integer, _>(signed(partition))
            .execute(connection)
            .await
            .map_err(ReadModelError::query(PUTTING_RIGHT))?;
    }
    Ok(())
}
