//! Points: requests weighted by what they cost the servers. A user and a company get points at a steady rate and can save
//! some. A request that finds too few points waits for its turn, in order of arrival, so that a client that sends too much
//! becomes slower and gets no errors. Only a request that would wait for too long is refused.

use crate::rate::Rate;
use crate::slots::{Holder, Most, Slot, Slots};
use crate::{Principal, Problem};
use prometheus::{IntCounter, IntCounterVec};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_schema::ErrorCode;
use waybill_service_kit::metrics::{counter, counters};

static SPENT: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_request_points_total", "Points that requests of users have cost"));

static THROTTLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "waybill_throttled_requests_total",
        "Requests that waited or were refused because their user or company had too few points",
        &["holder", "outcome"],
    )
});

/// Maximum time for which a request waits for points.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of waiting requests.
const WAITING: Most = Most { person: 200, company: 2_000, address: u32::MAX };

/// Number of users whose points a company has.
const USERS: u32 = 10;

/// Points of a user. A company has ten times as many.
#[derive(Clone, Copy, Debug)]
pub struct PointRates {
    /// Points per second.
    pub per_second: NonZeroU32,
    /// Points that can be saved.
    pub burst: NonZeroU32,
}

/// The points of all users and companies at this process.
pub(crate) struct Points {
    user: Rate,
    company: Rate,
    /// When all points of a party are back. A party that is not in the map has all of its points.
    full_at: Mutex<HashMap<Holder, Instant>>,
    waiting: Slots,
}

/// Time that a request has to wait, and for whose points.
struct Wait {
    time: Duration,
    holder: Holder,
}

/// A request that waits.
struct Waiting {
    time: Duration,
    _slot: Slot,
}

impl Points {
    pub(crate) fn new(rates: PointRates) -> Self {
        let (per_second, burst) = (f64::from(rates.per_second.get()), f64::from(rates.burst.get()));
        let users = f64::from(USERS);
        Self {
            user: Rate::new(per_second, burst),
            company: Rate::new(per_second * users, burst * users),
            full_at: Mutex::default(),
            waiting: Slots::new("waiting requests", WAITING),
        }
    }

    /// Takes the points of a request, and waits until it may run.
    ///
    /// # Errors
    /// 429 `too_many_requests` if it would have to wait for more than five seconds, or `too_many_at_once` if too many
    /// requests wait. Then no points are taken.
    pub(crate) async fn spend(&self, principal: &Principal, points: u32) -> Result<(), Problem> {
        if let Some(waiting) = self.reserve(principal, points)? {
            tokio::time::sleep(waiting.time).await;
        }
        Ok(())
    }

    /// Takes points for what a request turned out to cost. The next requests wait for them.
    pub(crate) fn charge(&self, principal: &Principal, points: u32) {
        SPENT.inc_by(points.into());
        let now = Instant::now();
        let mut all = self.locked();
        for (holder, rate) in self.parties(principal) {
            let full_at = rate.after(all.get(&holder).copied(), now, f64::from(points));
            // One expensive request must not exclude a user for long.
            all.insert(holder, full_at.min(now + rate.burst() + PATIENCE));
        }
    }

    fn reserve(&self, principal: &Principal, points: u32) -> Result<Option<Waiting>, Problem> {
        let now = Instant::now();
        let mut all = self.locked();
        let after = self.parties(principal).map(|(holder, rate)| {
            let full_at = rate.after(all.get(&holder).copied(), now, f64::from(points));
            (full_at, Wait { time: rate.wait(full_at, now), holder })
        });
        let [(_, user), (_, company)] = &after;
        let wait = if company.time > user.time { company } else { user };
        let holder = wait.holder.name();
        if wait.time > PATIENCE {
            THROTTLED.with_label_values(&[holder, "refused"]).inc();
            return Err(refusal(wait));
        }
        let waiting = if wait.time.is_zero() {
            None
        } else {
            THROTTLED.with_label_values(&[holder, "waited"]).inc();
            Some(Waiting { time: wait.time, _slot: self.waiting.take(&[user.holder, company.holder])? })
        };
        SPENT.inc_by(points.into());
        all.extend(after.iter().map(|(full_at, wait)| (wait.holder, *full_at)));
        Ok(waiting)
    }

    fn parties(&self, principal: &Principal) -> [(Holder, Rate); 2] {
        let company = principal.company_id;
        [(Holder::User(company, principal.counted_as()), self.user), (Holder::Company(company), self.company)]
    }

    /// Forgets parties that have all of their points.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        self.locked().retain(|_, full_at| *full_at > now);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Holder, Instant>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(wait: &Wait) -> Problem {
    let detail = format!(
        "this {} sends more requests than its rate permits; wait for the time in Retry-After, and send fewer at once",
        wait.holder.name()
    );
    let retry_after_s = u32::try_from(wait.time.as_secs()).ok();
    Problem { retry_after_s, ..Problem::new(429, ErrorCode::TooManyRequests, detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use waybill_schema::{CompanyId, Timestamp, UserId};

    fn points(per_second: u32, burst: u32) -> Points {
        let of = |number| NonZeroU32::new(number).unwrap();
        Points::new(PointRates { per_second: of(per_second), burst: of(burst) })
    }

    fn user(number: u128) -> Principal {
        Principal {
            link: None,
            issued_at: None,
            company_id: CompanyId(Uuid::from_u128(1)),
            user_id: UserId(Uuid::from_u128(number)),
            roles: Vec::new(),
            expires_at: Timestamp(i64::MAX),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_order_and_are_refused_if_they_would_wait_for_long() {
        let points = points(10, 100);
        let began = Instant::now();
        points.spend(&user(1), 100).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "saved points are spent at once");
        let (first, greedy, user) = (user(1), user(1), user(1));
        let (second, third) = (points.spend(&first, 20), points.spend(&greedy, 30));
        tokio::join!(
            async {
                second.await.unwrap();
                assert_eq!(began.elapsed().as_secs(), 2);
            },
            async {
                third.await.unwrap();
                assert_eq!(began.elapsed().as_secs(), 5);
            },
            async {
                let refused = points.spend(&user, 10).await.unwrap_err();
                assert_eq!((refused.status, refused.retry_after_s), (429, Some(6)));
            }
        );
        // The refused request has taken nothing.
        points.spend(&user, 1).await.unwrap();
        assert!((5_000..=5_200).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn users_do_not_wait_for_each_other_until_the_company_has_no_points() {
        let points = points(10, 100);
        let began = Instant::now();
        for number in 0..10 {
            points.spend(&user(number), 100).await.unwrap();
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        points.spend(&user(10), 100).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expensive_request_delays_the_next_ones_but_not_for_long() {
        let points = points(10, 100);
        let began = Instant::now();
        points.charge(&user(1), 1_000_000);
        points.spend(&user(1), 1).await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(1)).await;
        points.spend(&user(1), 1).await.unwrap();
        assert!(began.elapsed() <= Duration::from_millis(5_200), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_all_points_is_forgotten() {
        let points = points(10, 100);
        points.spend(&user(1), 10).await.unwrap();
        points.tidy();
        assert_eq!(points.locked().len(), 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        points.tidy();
        assert_eq!(points.locked().len(), 0);
    }
}
