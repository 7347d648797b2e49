//! Limits on searches. A search can read many rows, and must not take the connections that decide access.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waybill_cache::Cache;
use waybill_http_kit::{Principal, Problem};
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, UserId};

/// Number of searches of all users at the same time: a quarter of the connections of a pool.
const ALL: usize = 4;

/// Number of searches of one user at the same time.
const OF_USER: usize = 2;

/// Time for which a search waits until others have ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Number of users whose searches are counted.
const USERS: u64 = 10_000;

/// The running searches of this gateway.
pub(crate) struct Searches {
    all: Arc<Semaphore>,
    users: Cache<(CompanyId, UserId), Semaphore>,
}

/// Permission to search, until it is dropped.
pub(crate) struct Searching {
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Searches {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), users: Cache::new(USERS) }
    }
}

impl Searches {
    /// Waits until the principal may search.
    ///
    /// # Errors
    /// 429 `too_many_requests` if other searches of the user run, 503 `unavailable` if those of others do.
    pub(crate) async fn begin(&self, principal: &Principal) -> Result<Searching, Problem> {
        let key = (principal.company_id, principal.user_id);
        let user = self.users.get_with(&key, || Semaphore::new(OF_USER));
        let of_user = wait(user).await.ok_or_else(|| Problem {
            retry_after_s: Some(1),
            ..Problem::new(
                429,
                ErrorCode::TooManyRequests,
                "two of your searches are still running; wait for their answers before you search again",
            )
        })?;
        let of_all = wait(self.all.clone()).await;
        let of_all = of_all.ok_or_else(|| Problem::unavailable("too many searches are running; try again"))?;
        Ok(Searching { _of_user: of_user, _of_all: of_all })
    }
}

/// Waits for a permit. The semaphores are never closed.
async fn wait(semaphore: Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(PATIENCE, semaphore.acquire_owned()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_user_has_two_searches_and_others_can_still_search() {
        let searches = Searches::default();
        let user = |n: u128| Principal {
            issued_at: None,
            company_id: CompanyId(Uuid::nil()),
            user_id: UserId(Uuid::from_u128(n)),
            roles: Vec::new(),
            expires_at: waybill_schema::Timestamp(i64::MAX),
        };
        let first = searches.begin(&user(1)).await.map_err(|problem| problem.status);
        let second = searches.begin(&user(1)).await.map_err(|problem| problem.status);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(searches.begin(&user(1)).await.map(drop).unwrap_err().status, 429);
        let others = [searches.begin(&user(2)).await.ok(), searches.begin(&user(3)).await.ok()];
        assert!(others.iter().all(Option::is_some));
        assert_eq!(searches.begin(&user(4)).await.map(drop).unwrap_err().status, 503);
        drop(first);
        assert!(searches.begin(&user(1)).await.is_ok());
    }
}
