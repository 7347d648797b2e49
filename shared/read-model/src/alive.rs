//! Registry of the running processes of a kind, with which they share work.

use crate::queries::Share;
use crate::{Database, ReadModelError};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;
use futures_util::future::BoxFuture;
use std::num::NonZeroU32;
use std::time::Duration;
use uuid::Uuid;

/// Seconds after which the shares rotate among the processes.
const SHARES_CHANGE_S: u64 = 600;

/// Kind of processes that share work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Projectors share the partitions.
    Projectors,
    /// Workers share the candidates of the sweep.
    Sweepers,
    /// Processes with the role `content` share the files to compress and to archive.
    Compressors,
}

impl Group {
    fn table(self) -> &'static str {
        match self {
            Self::Projectors => "projector",
            Self::Sweepers => "sweeper",
            Self::Compressors => "compressor",
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

/// Returns the share of `process` in the work of the processes `alive`. Shares rotate, so that another process tries what one
/// process cannot do. If two processes disagree about the running ones for a short time, some work is done twice, which must be
/// harmless.
pub fn share_of(process: Uuid, alive: &[Uuid], now_s: i64) -> Share {
    let of = u32::try_from(alive.len()).ok().and_then(NonZeroU32::new);
    let (Some(of), Some(rank)) = (of, alive.iter().position(|id| *id == process)) else { return Share::default() };
    let turn = now_s.unsigned_abs() / SHARES_CHANGE_S % u64::from(of.get());
    let rank = (u64::try_from(rank).unwrap_or(0) + turn) % u64::from(of.get());
    Share { rank: u32::try_from(rank).unwrap_or(0), of }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_everything_and_their_shares_change_hands() {
        let workers = [1, 2, 3].map(Uuid::from_u128);
        let ranks = |now| workers.map(|worker| share_of(worker, &workers, now).rank);
        assert_eq!((ranks(0), ranks(600)), ([0, 1, 2], [1, 2, 0]));
        assert_eq!(
            share_of(workers[0], &[], 0),
            Share::default(),
            "a worker that knows of no live worker does everything"
        );
        assert_eq!(
            share_of(Uuid::nil(), &workers, 0),
            Share::default(),
            "a worker that is not in the list does everything"
        );
    }
}
