//! Statements of lists of files.

use super::filter::FileFilter;
use super::load::load_for_values;
use crate::ReadModelError;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Numbers of rows that the statements of lists read at most.
const ROWS_READ: [i64; 6] = [11, 21, 51, 101, 201, 1_001];

/// Returns the number of rows that the statement of a list reads for a page of `limit` entries. It is a part of the text, because
/// PostgreSQL assumes a large number for a parameter and then does not use the index that has the order of the list. Few different
/// numbers mean few different statements.
pub(super) fn rows_read(limit: i64) -> i64 {
    ROWS_READ.into_iter().find(|rows| *rows >= limit).unwrap_or(limit)
}

/// Loads a page of a list of files, at most `limit` of them.
pub(super) async fn load_listing<'query, Q, R>(
    connection: &mut AsyncPgConnection,
    query: Q,
    filter: &FileFilter,
    limit: i64,
    operation: &'static str,
) -> Result<Vec<R>, ReadModelError>
where
    Q: LoadQuery<'query, AsyncPgConnection, R> + Send + 'query,
    R: Send + 'query,
{
    // Planning such a list takes as long as reading it, and the plan does not depend on the values.
    let mut rows = match filter.matches_most() {
        true => query.load(connection).await.map_err(ReadModelError::query(operation))?,
        false => load_for_values(connection, query, filter.timeout(), operation).await?,
    };
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(rows)
}

/// Returns the SQL of the columns of a row type.
pub(super) fn columns_sql(columns: impl QueryFragment<Pg>) -> Result<String, ReadModelError> {
    let mut builder = PgQueryBuilder::default();
    columns.to_sql(&mut builder, &Pg).map_err(ReadModelError::query("naming the columns of a table"))?;
    Ok(builder.finish())
}
