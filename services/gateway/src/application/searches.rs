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

/// Number of searches of one company at the same time. One is left for the others.
const OF_COMPANY: usize = ALL - 1;

/// Time for which a search waits until others have ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Number of users and of companies whose searches are counted.
const COUNTED: u64 = 10_000;

/// The running searches of this gateway.
pub(crate) struct Searches {
    all: Arc<Semaphore>,
    companies: Cache<CompanyId, Semaphore>,
    users: Cache<(CompanyId, UserId), Semaphore>,
}

/// Permission to search, until it is dropped.
pub(crate) struct Searching {
    _of_user: OwnedSemaphorePermit,
    _of_company: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Searches {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), companies: Cache::new(COUNTED), users: Cache::new(COUNTED) }
    }
}

impl Searches {
    /// Waits until the principal may search.
    ///
    /// # Errors
    /// 429 `too_many_requests` if other searches of the user or of the company run, 503 `unavailable` if those of others
    /// do.
    pub(crate) async fn begin(&self, principal: &Principal) -> Result<Searching, Problem> {
        let key = (principal.company_id, principal.user_id);
        let user = self.users.get_with(&key, || Semaphore::new(OF_USER));
        let refused =
            |detail| Problem { retry_after_s: Some(1), ..Problem::new(429, ErrorCode::TooManyRequests, detail) };
        let of_user = wait(user).await.ok_or_else(|| {
            refused("two of your searches are still running; wait for their answers before you search again")
        })?;
        let company = self.companies.get_with(&principal.company_id, || Semaphore::new(OF_COMPANY));
        let of_company = wait(company)
            .await
            .ok_or_else(|| refused("three searches of your company are still running; search again after a second"))?;
        let of_all = wait(self.all.clone()).await;
        let of_all = of_all.ok_or_else(|| Problem::unavailable("too many searches are running; try again"))?;
        Ok(Searching { _of_user: of_user, _of_company: of_company, _of_all: of_all })
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

    fn user(company: u128, number: u128) -> Principal {
        Principal {
            link: None,
            issued_at: None,
            company_id: CompanyId(Uuid::from_u128(company)),
            user_id: UserId(Uuid::from_u128(number)),
            roles: Vec::new(),
            expires_at: waybill_schema::Timestamp(i64::MAX),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn m12_users_and_companies_leave_searches_to_others() {
        let searches = Searches::default();
        let begin =
            async |company, number| searches.begin(&user(company, number)).await.map_err(|problem| problem.status);
        let first = begin(1, 1).await.unwrap();
        let _second = begin(1, 1).await.unwrap();
        assert_eq!(begin(1, 1).await.map(drop), Err(429), "a user has two searches");
        let _third = begin(1, 2).await.unwrap();
        assert_eq!(begin(1, 3).await.map(drop), Err(429), "a company has three searches");
        let _fourth = begin(2, 4).await.unwrap();
        assert_eq!(begin(3, 5).await.map(drop), Err(503), "four searches run");
        drop(first);
        assert!(begin(1, 1).await.is_ok());
    }
}
