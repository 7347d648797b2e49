//! Bandwidth of downloads. While several companies use a gateway, the downloads of one company cannot take all of it. A company that is
//! alone is not limited.

use crate::metrics::PACED_DOWNLOADS;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use waybill_http_kit::rate::Rate;
use waybill_schema::CompanyId;

/// Time for which a company uses a gateway after a request or sent bytes.
const ACTIVE: Duration = Duration::from_secs(1);

/// Seconds whose bytes a company may send at once.
const BURST_S: f64 = 0.005;

const MIB: f64 = 1_048_576.0;

/// Number of companies above which those that need not wait are forgotten.
const REMEMBERED: usize = 256;

/// Bytes that the companies of a gateway send. Pieces wait in the order of arrival.
pub(crate) struct Bandwidth {
    /// Bytes of a company per second; `None` without a limit.
    limit: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When a company will have sent all of its pieces at the limit.
    done_at: HashMap<CompanyId, Instant>,
    /// The company that has used the gateway last, and the last one before it that was another.
    last: Option<(CompanyId, Instant)>,
    other: Option<(CompanyId, Instant)>,
}

impl State {
    /// Notes that a company uses the gateway. Returns `true` if another one does, too.
    fn note(&mut self, company: CompanyId, now: Instant) -> bool {
        if self.last.is_some_and(|(last, _)| last != company) {
            self.other = self.last;
        }
        self.last = Some((company, now));
        self.other.is_some_and(|(_, at)| now.duration_since(at) < ACTIVE)
    }

    /// Adds a piece. Returns how long it has to wait.
    fn add(&mut self, company: CompanyId, bytes: u32, limit: Rate, now: Instant) -> Duration {
        if self.done_at.len() > REMEMBERED {
            self.done_at.retain(|_, at| *at > now);
        }
        let before = self.done_at.get(&company).copied();
        self.done_at.insert(company, limit.after(before, now, f64::from(bytes)));
        before.map_or(Duration::ZERO, |before| limit.wait(before, now))
    }
}

impl Bandwidth {
    /// Creates one in which a company sends at most `mib_per_s` while others use the gateway; without a limit for 0.
    pub(crate) fn new(mib_per_s: u32) -> Arc<Self> {
        let per_second = f64::from(mib_per_s) * MIB;
        let limit = (mib_per_s > 0).then(|| Rate::new(per_second, per_second * BURST_S));
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Notes that a company uses the gateway.
    pub(crate) fn note(&self, company: CompanyId) {
        if self.limit.is_some() {
            self.locked().note(company, Instant::now());
        }
    }

    /// Waits until a company may send this number of bytes.
    pub(crate) async fn take(&self, company: CompanyId, bytes: u32) {
        let Some(limit) = self.limit else { return };
        let now = Instant::now();
        let wait = {
            let mut state = self.locked();
            if !state.note(company, now) {
                return;
            }
            state.add(company, bytes, limit, now)
        };
        if !wait.is_zero() {
            PACED_DOWNLOADS.inc();
            tokio::time::sleep(wait).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const PIECE: u32 = 64 * 1_024;
    const ONE: CompanyId = CompanyId(Uuid::from_u128(1));
    const OTHER: CompanyId = CompanyId(Uuid::from_u128(2));

    /// Sends a number of MiB. Returns the time that it took.
    async fn send(bandwidth: &Bandwidth, company: CompanyId, mib: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..(mib << 20) / PIECE {
            bandwidth.take(company, PIECE).await;
        }
        began.elapsed()
    }

    /// Uses a gateway every 100 ms.
    async fn use_it(bandwidth: &Bandwidth, company: CompanyId) {
        loop {
            bandwidth.note(company);
            tokio::time::sleep(ACTIVE / 10).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_company_is_limited_while_another_one_uses_the_gateway() {
        let bandwidth = Bandwidth::new(64);
        assert_eq!(send(&bandwidth, ONE, 1_000).await, Duration::ZERO);
        bandwidth.note(OTHER);
        tokio::select! {
            took = send(&bandwidth, ONE, 640) => {
                assert!((9..=10).contains(&took.as_secs()), "{took:?}");
            }
            () = use_it(&bandwidth, OTHER) => {}
        }
        tokio::time::advance(ACTIVE).await;
        assert_eq!(send(&bandwidth, ONE, 1_000).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn each_company_has_its_own_limit() {
        let bandwidth = Bandwidth::new(64);
        bandwidth.note(ONE);
        bandwidth.note(OTHER);
        let (one, other) = tokio::join!(send(&bandwidth, ONE, 64), send(&bandwidth, OTHER, 64));
        for took in [one, other] {
            assert!(took > Duration::from_millis(900) && took < Duration::from_millis(1_200), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let bandwidth = Bandwidth::new(0);
        let (one, other) = tokio::join!(send(&bandwidth, ONE, 1_000), send(&bandwidth, OTHER, 1_000));
        assert_eq!(one + other, Duration::ZERO);
    }
}
