//! Digests of whole tables, to compare a rebuilt read model with the live one.

use crate::ReadModelError;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;

/// Every table that events are folded into; what others refer to comes first.
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

/// The tables of companies with the column that says whose a row is; what others refer to comes first.
pub(crate) fn of_companies() -> impl DoubleEndedIterator<Item = (&'static str, &'static str)> {
    let column = |table| if table == "company" { "id" } else { "company_id" };
    TABLES.into_iter().filter(|table| *table != "parked_event").map(move |table| (table, column(table)))
}

/// What a table holds, in two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: i64,
    /// The sum of the rows' hashes: does not depend on their order.
    pub digest: String,
}

/// The digests of all tables. For a state of one moment call it in a `REPEATABLE READ` transaction.
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
