//! Has Postgres count young tables again while they grow.
//!
//! Plans are kept as long as a connection. One that was made for an empty table reads all of it for each row, and stays until
//! the table is analyzed. Autovacuum looks once a minute; a new installation gets thousands of files in that time.

use crate::ReadModelError;
use crate::statement::Statement;
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::BoxFuture;

/// Tables whose rows became four times as many since they were last counted. Large ones are left to autovacuum.
const GROWN: &str = "SELECT quote_ident(relname) AS name FROM pg_class \
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND reltuples < 50000 \
    AND pg_stat_get_live_tuples(oid) > 100 + 3 * greatest(reltuples, 0)";

/// Analyzes the tables of the schema that are young and have grown much. One that somebody else analyzes is passed over.
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
        let failed = ReadModelError::query("counting young tables");
        let grown: Vec<Table> = Statement::new(GROWN, []).load(connection).await.map_err(&failed)?;
        if grown.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = grown.into_iter().map(|table| table.name).collect();
        connection.batch_execute(&format!("ANALYZE (SKIP_LOCKED) {}", names.join(", "))).await.map_err(&failed)
    })
}
