//! Loading of the rows of queries that are planned under settings of their own.

use crate::ReadModelError;
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

/// Statement that limits the time of the other statements of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Timeout(pub(super) &'static str);

/// Settings under which a statement is planned.
#[derive(Clone, Copy)]
pub(super) enum Planning {
    /// A plan for the values of the statement, because the best one depends on them.
    ForValues,
    /// The plan that the connection keeps, without sorting: rows come from an index in their order, so that it does not matter that
    /// the plan is made for an average number of rows.
    InIndexOrder,
}

impl Planning {
    fn settings(self) -> &'static str {
        match self {
            Self::ForValues => "SET LOCAL plan_cache_mode = force_custom_plan",
            Self::InIndexOrder => "SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off",
        }
    }
}

/// Loads the rows of a query that is planned under these settings.
pub(super) async fn load_planned<'query, Q, R>(
    connection: &mut AsyncPgConnection,
    query: Q,
    planning: Planning,
    timeout: Option<Timeout>,
    operation: &'static str,
) -> Result<Vec<R>, ReadModelError>
where
    Q: LoadQuery<'query, AsyncPgConnection, R> + Send + 'query,
    R: Send + 'query,
{
    connection
        .transaction(async |connection: &mut AsyncPgConnection| {
            let failed = ReadModelError::query(operation);
            connection.batch_execute(planning.settings()).await.map_err(&failed)?;
            if let Some(Timeout(text)) = timeout {
                connection.batch_execute(text).await.map_err(&failed)?;
            }
            query.load(connection).await.map_err(&failed)
        })
        .await
}
