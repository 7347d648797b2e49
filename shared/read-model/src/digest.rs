//! Digests of whole tables, to compare a rebuilt read model with the live one.

use crate::ReadModelError;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;

/// All tables that events are folded into. Tables come before the tables that refer to them.
pub(crate) const TABLES: [&str; 17] = [
    "company",
    "\"user\"",
    "chatroom",
    "thread",
    "member",
    "file",
    "file_association",
    "download_token",
    "content",
    "upload_session",
    "upload_progress",
    "partial_upload",
    "storage_quota",
    "quota_reservation",
    "file_total",
    "event_positions",
    "parked_event",
];

/// Returns the tables with rows of companies and the column of the company's id. Tables come before the tables that
/// refer to them.
pub(crate) fn of_companies() -> impl DoubleEndedIterator<Item = (&'static str, &'static str)> {
    let column = |table| if table == "company" { "id" } else { "company_id" };
    TABLES.into_iter().filter(|table| *table != "parked_event").map(move |table| (table, column(table)))
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
        let mut digests = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            let found: Found = sql_query(format!(
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(row_to_json(t)::text, 0)::numeric), 0)::text AS digest \
             FROM {table} t"
        ))
        .get_result(connection)
        .await
        .map_err(ReadModelError::query("computing a digest"))?;
            digests.push(TableDigest {
                table: table.trim_matches('"').to_owned(),
                rows: found.rows,
                digest: found.digest,
            });
        }
        Ok(digests)
    })
}
