//! Limits the number of parts that are sent to the store in parallel.
//!
//! A distant store has a high latency, which several parallel parts hide. A busy store becomes slower with each
//! parallel part. The limit distinguishes the two by comparing the time of a part with the fastest parts of the last
//! minute (a gradient limit, as in TCP Vegas).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Minimum and maximum of the limit, for all uploads of a worker together. Each upload can always send one part.
const LEAST: f64 = 2.0;
const MOST: f64 = 16.0;
/// Limit before any part was timed.
const FIRST: f64 = 4.0;
/// Factor by which parts may be slower than the fastest ones before the limit is lowered.
const TOLERANCE: f64 = 2.0;
/// Lower bound of the gradient: one slow part lowers the target of the limit at most by this factor.
const STEEPEST: f64 = 0.2;
/// Weight of the newest part when the limit moves to its target.
const WEIGHT: f64 = 0.5;
/// Length of a window. The fastest parts are those of the current and the previous window, so that the limit adapts to
/// a store that has become slower.
const WINDOW: Duration = Duration::from_secs(30);
/// Minimum size of a part that is measured. Times of smaller parts do not allow conclusions about larger ones.
const LEAST_BYTES: usize = 4 << 20;

/// The parts that are being sent, and the limit for them.
pub(crate) struct Pace {
    under_way: AtomicUsize,
    measured: Mutex<Measured>,
}

struct Measured {
    limit: f64,
    /// Seconds per byte of the fastest part, in the current and in the previous window.
    fastest: [Option<f64>; 2],
    /// Start of the current window.
    since: Instant,
}

/// A part that is being sent, until the value is dropped.
pub(crate) struct UnderWay<'a> {
    pace: &'a Pace,
    began: Instant,
    /// Number of parts when this one began, including it.
    among: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { under_way: AtomicUsize::new(0), measured: Mutex::new(Measured::new(Instant::now())) }
    }
}

impl Pace {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if an upload with `own` unfinished parts may send one more.
    pub(crate) fn allows(&self, own: usize) -> bool {
        let most = self.under_way.load(Ordering::Relaxed).max(own);
        own == 0 || (most as f64) < self.measured().limit
    }

    /// Counts a part until the value is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        let among = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        UnderWay { pace: self, began: Instant::now(), among }
    }
}

impl Measured {
    fn new(now: Instant) -> Self {
        Self { limit: FIRST, fastest: [None; 2], since: now }
    }

    fn learn(&mut self, bytes: usize, among: usize, took: Duration, now: Instant) {
        if bytes < LEAST_BYTES {
            return;
        }
        let seconds = took.as_secs_f64().max(1e-6) / bytes as f64;
        if now.duration_since(self.since) >= WINDOW {
            (self.fastest, self.since) = ([None, self.fastest[0]], now);
        }
        let lower = |known: Option<f64>| known.map_or(seconds, |known| known.min(seconds));
        self.fastest[0] = Some(lower(self.fastest[0]));
        let fastest = lower(self.fastest[0]).min(lower(self.fastest[1]));
        let gradient = (TOLERANCE * fastest / seconds).clamp(STEEPEST, 1.0);
        let aim = self.limit * gradient + self.limit.sqrt();
        // The limit rises only if it is used at least by half. Otherwise something else restricts the number of parts.
        let is_used = among as f64 >= self.limit / 2.0;
        if is_used || aim < self.limit {
            self.limit = (self.limit * (1.0 - WEIGHT) + aim * WEIGHT).clamp(LEAST, MOST);
        }
    }
}

impl UnderWay<'_> {
    /// Records that the store has the part, and adapts the limit.
    pub(crate) fn stored(&self, bytes: usize) {
        self.pace.measured().learn(bytes, self.among, self.began.elapsed(), Instant::now());
    }

    /// Halves the limit, because the store did not take the part or asked to slow down.
    pub(crate) fn failed(&self) {
        let mut measured = self.pace.measured();
        measured.limit = (measured.limit / 2.0).max(LEAST);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.pace.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: usize = 8 << 20;

    /// Returns the limit after many parts. `time` is the time of a part in seconds for a number of parallel parts.
    fn limit(time: impl Fn(f64) -> f64) -> f64 {
        let mut now = Instant::now();
        let mut measured = Measured::new(now);
        for _ in 0..1_000 {
            let among = measured.limit.floor();
            let took = Duration::from_secs_f64(time(among));
            now += took / among as u32;
            measured.learn(PART, among as usize, took, now);
        }
        measured.limit
    }

    #[test]
    fn a_distant_store_gets_many_at_once_and_a_busy_one_fewer() {
        assert!(limit(|_| 0.2) > 15.0, "the time of a part does not depend on the number of parts");
        let busy = limit(|among| 0.02 * among);
        assert!(busy < 13.0, "the store handles one part after another: {busy}");
    }

    #[test]
    fn a_store_that_became_slower_gets_many_again() {
        let mut now = Instant::now();
        let mut measured = Measured::new(now);
        for seconds in [0.05, 0.5] {
            for _ in 0..1_000 {
                now += Duration::from_millis(100);
                measured.learn(PART, 5, Duration::from_secs_f64(seconds), now);
            }
        }
        assert!(measured.limit > 4.0, "{}", measured.limit);
    }

    #[test]
    fn failures_lower_the_limit() {
        let pace = Pace::default();
        pace.measured().limit = MOST;
        pace.begin().failed();
        assert!(pace.measured().limit <= MOST / 2.0);
    }

    #[test]
    fn one_of_each_upload_is_always_allowed() {
        let pace = Pace::default();
        let all: Vec<UnderWay<'_>> = (0..20).map(|_| pace.begin()).collect();
        assert!(pace.allows(0) && !pace.allows(1));
        drop(all);
        assert!(pace.allows(1));
        assert!(!pace.allows(4), "stored parts that wait for others also count");
    }
}
