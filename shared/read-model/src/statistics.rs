//! Analyzes new tables while they grow.
//!
//! Plans are cached per connection. A plan for an empty table scans the whole table for each row, and is used until the
//! table is analyzed. Autovacuum checks tables once a minute; a new installation can receive thousands of files in that
//! time.

use crate::ReadModelError;
use crate::statement::Statement;
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;

/// Tables with more than 100 rows plus three times the rows that they had when they were last analyzed. Tables of
/// 50,000 rows or more are left to autovacuum.
const GROWN: &str = "SELECT quote_ident(relname) AS name FROM pg_class \
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND reltuples < 50000 \
    AND pg_stat_get_live_tuples(oid) > 100 + 3 * greatest(reltuples, 0)";

/// Analyzes small tables of the schema that have grown much. Skips tables that another process is analyzing.
///
/// # Errors
/// [`ReadModelError`].
pub fn follow(connection: &mut AsyncPgConnection) -> BoxFuture<'_, Result<(), ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Table {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let failed = ReadModelError::query("analyzing new tables");
        let grown: Vec<Table> = Statement::new(GROWN, []).load(connection).await.map_err(&failed)?;
        if grown.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = grown.into_iter().map(|table| table.name).collect();
        let statement = format!("SELECT analyze_tables(ARRAY['{}']::regclass[])", names.join("', '"));
        connection.batch_execute(&statement).await.map_err(&failed)
    })
}
