//! How many parts are on their way to the store at once.
//!
//! A store far away takes each part only some time after it was asked to, however fast it is: several at once hide that.
//! A store that is busy only takes longer for each. Which of both it is shows in how long a part takes beside those that
//! were the fastest of the last minute (a gradient limit, as in TCP Vegas).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The fewest and the most parts at once, of all uploads of a worker; but each upload may have one.
const LEAST: f64 = 2.0;
const MOST: f64 = 16.0;
/// How many there may be before a part was timed.
const FIRST: f64 = 8.0;
/// How much longer than the fastest ones parts may take before there are too many at once.
const TOLERANCE: f64 = 2.0;
/// How much less is aimed for at least, if parts take much longer.
const STEEPEST: f64 = 0.2;
/// How much a part's time counts for the limit.
const WEIGHT: f64 = 0.5;
/// The fastest parts are those of this time and of the one before it: so a store that has become slower is known for it.
const WINDOW: Duration = Duration::from_secs(30);
/// Smaller parts tell nothing of the store's time for the others.
const LEAST_BYTES: usize = 4 << 20;

/// The parts on their way.
pub(crate) struct Pace {
    under_way: AtomicUsize,
    measured: Mutex<Measured>,
}

struct Measured {
    limit: f64,
    /// Seconds for each byte of the fastest parts, in this window of time and in the one before.
    fastest: [Option<f64>; 2],
    /// When this window began.
    since: Instant,
}

/// A part on its way.
pub(crate) struct UnderWay<'a> {
    pace: &'a Pace,
    began: Instant,
    /// How many there were when it began, with itself.
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

    /// Whether an upload that has `own` parts in hand may have one more.
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
        // Where fewer are under way than may be, it is not the limit that keeps them few.
        let is_used = among as f64 >= self.limit / 2.0;
        if is_used || aim < self.limit {
            self.limit = (self.limit * (1.0 - WEIGHT) + aim * WEIGHT).clamp(LEAST, MOST);
        }
    }
}

impl UnderWay<'_> {
    /// The store has the part.
    pub(crate) fn stored(&self, bytes: usize) {
        self.pace.measured().learn(bytes, self.among, self.began.elapsed(), Instant::now());
    }

    /// The store did not take it, or asked to slow down.
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

    /// The limit after many parts, in a store where a part takes `time` with so many under way.
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
        assert!(limit(|_| 0.2) > 15.0, "each takes its time, however many there are");
        let busy = limit(|among| 0.02 * among);
        assert!(busy < 13.0, "it does one after the other: {busy}");
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
        assert!(!pace.allows(4), "parts that are stored and wait for others count, too");
    }
}
