//! A rate that parties use up: the generic cell rate algorithm (ITU-T I.371) with a queue. A party has one instant, at which all that it
//! may use at once is back. `governor` implements the algorithm without a queue.

use std::time::Duration;
use tokio::time::Instant;

/// Amount that a party may use per second, and at once after a pause.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Seconds until one is back.
    interval_s: f64,
    /// Time in which all come back.
    burst: Duration,
}

impl Rate {
    /// Creates a rate of `per_second`, of which a party can save `burst`.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self { interval_s: per_second.recip(), burst: Duration::from_secs_f64(burst / per_second) }
    }

    /// Returns when all is back after `amount` was used, if it was or will be back at `full_at`.
    pub fn after(self, full_at: Option<Instant>, now: Instant, amount: f64) -> Instant {
        full_at.map_or(now, |full_at| full_at.max(now)) + Duration::from_secs_f64(self.interval_s * amount)
    }

    /// Returns the time from `now` until something may be used after which all is back at `full_at`.
    pub fn wait(self, full_at: Instant, now: Instant) -> Duration {
        full_at.saturating_duration_since(now).saturating_sub(self.burst)
    }

    /// Returns the time in which all comes back.
    pub fn burst(self) -> Duration {
        self.burst
    }
}
