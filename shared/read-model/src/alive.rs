//! Registry of the running processes of a kind, with which they share work.

use crate::{Database, ReadModelError};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use futures_util::future::BoxFuture;
use std::time::Duration;
use uuid::Uuid;

/// Kind of processes that share work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Projectors share the partitions.
    Projectors,
    /// Workers share the candidates of the sweep.
    Sweepers,
}

impl Group {
    fn table(self) -> &'static str {
        match self {
            Self::Projectors => "projector",
            Self::Sweepers => "sweeper",
        }
    }
}

/// Registers `owner` as running for the next `lease`. Returns all running processes, ordered by id.
///
/// # Errors
/// [`ReadModelError`].
pub fn announce(
    database: &Database,
    group: Group,
    owner: Uuid,
    lease: Duration,
) -> BoxFuture<'_, Result<Vec<Uuid>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Alive {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
        }
        let operation = "reading the running processes";
        let table = group.table();
        let mut connection = database.connection().await?;
        sql_query(format!(
            "INSERT INTO {table} (id, alive_until) VALUES ($1, now() + $2 * interval '1 millisecond') \
         ON CONFLICT (id) DO UPDATE SET alive_until = EXCLUDED.alive_until"
        ))
        .bind::<SqlUuid, _>(owner)
        .bind::<BigInt, _>(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
        .execute(&mut connection)
        .await
        .map_err(ReadModelError::query(operation))?;
        sql_query(format!("DELETE FROM {table} WHERE alive_until < now()"))
            .execute(&mut connection)
            .await
            .map_err(ReadModelError::query(operation))?;
        let alive: Vec<Alive> = sql_query(format!("SELECT id FROM {table} ORDER BY id"))
            .load(&mut connection)
            .await
            .map_err(ReadModelError::query(operation))?;
        Ok(alive.into_iter().map(|alive| alive.id).collect())
    })
}

/// Removes `owner` from the running processes.
///
/// # Errors
/// [`ReadModelError`].
pub fn withdraw(database: &Database, group: Group, owner: Uuid) -> BoxFuture<'_, Result<(), ReadModelError>> {
    Box::pin(async move {
        let mut connection = database.connection().await?;
        sql_query(format!("DELETE FROM {} WHERE id = $1", group.table()))
            .bind::<SqlUuid, _>(owner)
            .execute(&mut connection)
            .await
            .map(drop)
            .map_err(ReadModelError::query("removing a running process"))
    })
}
