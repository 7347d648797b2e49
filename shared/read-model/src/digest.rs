//! Digests of whole tables, to compare a rebuilt read model with the live one.

use crate::ReadModelError;
use crate::rows::TABLES;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;

/// Events that could not be folded. The table has no rows of companies.
const PARKED: &str = "parked_event";

/// Returns the name of each table that events are folded into, plain and in SQL.
pub(crate) fn tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().map(|of| (of.name, of.table)).chain([(PARKED, PARKED)])
}

/// Number of rows and digest of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// The table.
    pub table: String,
    /// Number of rows.
    pub rows: i64,
    /// Sum of the hashes of all rows. It does not depend on their order.
    pub digest: String,
}

/// Computes the digests of all tables. For a consistent state, call it in a `REPEATABLE READ` transaction.
///
/// # Errors
/// [`ReadModelError`].
pub fn digests(connection: &mut AsyncPgConnection) -> BoxFuture<'_, Result<Vec<TableDigest>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = BigInt)]
            rows: i64,
            #[diesel(sql_type = Text)]
            digest: String,
        }
        let mut digests = Vec::new();
        for (name, table) in tables() {
            let found: Found = sql_query(format!(
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(row_to_json(t)::text, 0)::numeric), 0)::text AS digest \
             FROM {table} t"
        ))
        .get_result(connection)
        .await
        .map_err(ReadModelError::query("computing a digest"))?;
            digests.push(TableDigest { table: name.to_owned(), rows: found.rows, digest: found.digest });
        }
        Ok(digests)
    })
}
