//! Query plans of the most frequent queries, for tests and operators.

use super::{Wanted, access};
use crate::ReadModelError;
use crate::statement::Statement;
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use waybill_schema::{CompanyId, UserId};

/// Returns the plan of [`super::access_rows`] as lines of text.
///
/// # Errors
/// [`ReadModelError`].
pub fn plan_of_access<'a>(
    connection: &'a mut AsyncPgConnection,
    partition: u32,
    company: CompanyId,
    user: UserId,
    wanted: &'a Wanted,
) -> BoxFuture<'a, Result<String, ReadModelError>> {
    Box::pin(async move { explain(connection, access::statement(partition, company, user, wanted)).await })
}

async fn explain(connection: &mut AsyncPgConnection, statement: Statement) -> Result<String, ReadModelError> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let lines: Vec<Line> =
        statement.explained().load(connection).await.map_err(ReadModelError::query("reading a query plan"))?;
    Ok(lines.into_iter().map(|line| line.line).collect::<Vec<_>>().join("\n"))
}
