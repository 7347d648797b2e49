//! Statements of lists of files.

use super::filter::FileFilter;
use super::load::{Planning, load_planned};
use crate::ReadModelError;
use crate::statement::{Bind, Statement, Typed};
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel_async::AsyncPgConnection;
use diesel_async::methods::LoadQuery;

/// Numbers of rows that the statements of lists read, for most pages.
const ROWS_READ: [i64; 2] = [51, 201];

/// Returns the number of rows that the statement of a list reads for a page of `limit` entries. Callers that keep pages ask for as
/// many, so that pages of different sizes are the same.
pub fn rows_read(limit: i64) -> i64 {
    ROWS_READ.into_iter().find(|rows| *rows >= limit).unwrap_or(limit)
}

/// Statement of a list, and how it is planned.
pub(super) struct Listing {
    statement: Statement,
    /// `true` if a plan that does not depend on the values is as good as any.
    is_common: bool,
    limit: i64,
}

impl Listing {
    /// Completes the text of a statement for a page of `limit` entries. `is_usual` says whether most clients ask for this order.
    ///
    /// The number of rows is a part of the text, because PostgreSQL assumes a large number for a parameter and then does not use the
    /// index that has the order of the list. Planning such a list takes longer than reading it, so connections keep the plans of the
    /// usual ones. A plan takes up to 700 KB of each connection, so there are few different texts of them. It must not sort: for a
    /// chatroom of average size that costs as little as the index, and for one with 1,000,000 files it takes seconds.
    pub(super) fn new(
        mut text: String,
        binds: Vec<(&'static str, Bind)>,
        filter: &FileFilter,
        is_usual: bool,
        limit: i64,
    ) -> Self {
        let rows = rows_read(limit);
        text.push_str(&format!(" LIMIT {rows}"));
        let statement = Statement::new(&text, binds);
        let is_common = is_usual && ROWS_READ.contains(&rows) && filter.matches_most();
        let statement = if is_common { statement } else { statement.forgotten() };
        Self { statement, is_common, limit }
    }

    /// Loads the page. The columns of the rows are `T`.
    pub(super) async fn load<T, R>(
        self,
        connection: &mut AsyncPgConnection,
        filter: &FileFilter,
        operation: &'static str,
    ) -> Result<Vec<R>, ReadModelError>
    where
        for<'query> Typed<T>: LoadQuery<'query, AsyncPgConnection, R>,
        T: 'static,
        R: Send + 'static,
    {
        let query = self.statement.typed::<T>();
        let planning = if self.is_common { Planning::InIndexOrder } else { Planning::ForValues };
        let mut rows = load_planned(connection, query, planning, filter.timeout(), operation).await?;
        rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        Ok(rows)
    }
}

/// Returns the SQL of the columns of a row type.
pub(super) fn columns_sql(columns: impl QueryFragment<Pg>) -> Result<String, ReadModelError> {
    let mut builder = PgQueryBuilder::default();
    columns.to_sql(&mut builder, &Pg).map_err(ReadModelError::query("naming the columns of a table"))?;
    Ok(builder.finish())
}
