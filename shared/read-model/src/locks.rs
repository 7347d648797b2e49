//! Locks by name that one connection holds at a time (PostgreSQL, "Advisory Locks"). A lock ends with its connection.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;

#[derive(QueryableByName)]
struct Done {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    done: bool,
}

/// Takes a lock if no other connection holds it. Returns whether this connection holds it now.
///
/// # Errors
/// [`ReadModelError`].
pub fn try_lock<'a>(
    connection: &'a mut AsyncPgConnection,
    name: &'a str,
) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    run(connection, "SELECT pg_try_advisory_lock(hashtextextended(:name, 0)) AS done", name)
}

/// Returns a lock that this connection holds.
///
/// # Errors
/// [`ReadModelError`].
pub fn unlock<'a>(connection: &'a mut AsyncPgConnection, name: &'a str) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    run(connection, "SELECT pg_advisory_unlock(hashtextextended(:name, 0)) AS done", name)
}

fn run<'a>(
    connection: &'a mut AsyncPgConnection,
    text: &'a str,
    name: &'a str,
) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    Box::pin(async move {
        let found: Done = Statement::new(text, [("name", Bind::Text(name.to_owned()))])
            .get_result(connection)
            .await
            .map_err(ReadModelError::query("taking or returning a lock"))?;
        Ok(found.done)
    })
}
