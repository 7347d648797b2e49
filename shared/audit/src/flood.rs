//! Limits the records of one user, so that a flood of denied requests does not push out earlier records or those of
//! others. The further ones are counted, and their number becomes a record.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::{CompanyId, UserId};

/// Number of records per user and [`WINDOW`].
const KEPT: u32 = 100;

/// Period that begins with the first denied request of a user.
const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of users whose denied requests are counted at the same time.
const USERS_MAX: usize = 100_000;

/// Denied requests of a user that were not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) company: CompanyId,
    pub(crate) user: UserId,
    /// Number of the requests.
    pub(crate) more: u32,
}

struct Window {
    began: Instant,
    kept: u32,
    more: u32,
}

/// Denied requests of the last minute, by user.
#[derive(Default)]
pub(crate) struct Flood(Mutex<HashMap<(CompanyId, UserId), Window>>);

impl Flood {
    fn locked(&self) -> MutexGuard<'_, HashMap<(CompanyId, UserId), Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the denied request is to be recorded, and counts it otherwise.
    pub(crate) fn admits(&self, company: CompanyId, user: UserId) -> bool {
        let mut windows = self.locked();
        if windows.len() >= USERS_MAX && !windows.contains_key(&(company, user)) {
            return true;
        }
        let window =
            windows.entry((company, user)).or_insert_with(|| Window { began: Instant::now(), kept: 0, more: 0 });
        let is_kept = window.kept < KEPT;
        if is_kept {
            window.kept += 1;
        } else {
            window.more = window.more.saturating_add(1);
        }
        is_kept
    }

    /// Ends the windows that are over. Returns the users with more denied requests than recorded, and the number of the
    /// others.
    pub(crate) fn end(&self) -> Vec<Counted> {
        let mut ended = Vec::new();
        self.locked().retain(|(company, user), window| {
            let is_over = window.began.elapsed() >= WINDOW;
            if is_over && window.more > 0 {
                ended.push(Counted { company: *company, user: *user, more: window.more });
            }
            !is_over
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_and_does_not_concern_others() {
        let flood = Flood::default();
        let (company, user) = (CompanyId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let kept = (0..250).filter(|_| flood.admits(company, user)).count();
        assert_eq!(kept, 100);
        assert!(flood.admits(company, UserId(Uuid::from_u128(3))));
        assert_eq!(flood.end(), []);
        tokio::time::advance(WINDOW).await;
        assert_eq!(flood.end(), [Counted { company, user, more: 150 }]);
        assert!(flood.admits(company, user));
    }
}
