//! Calculates the times at which the timer wakes a connection.

use std::time::Duration;
use tokio::time::Instant;

/// Interval between two pings.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(25);
/// Maximum time that a client may take to answer a ping.
const PONG_WITHIN: Duration = Duration::from_secs(8);
/// Maximum time that a frame may wait until the socket accepts it.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// Minimum interval between two sends of progress.
const TICK: Duration = Duration::from_millis(100);
/// Minimum interval before the next progress after the client did not read fast enough.
const SLOW_TICK: Duration = Duration::from_secs(1);

/// Times of one connection.
pub(crate) struct Timing {
    /// Pings are sent at whole seconds after this instant. All connections share it, so connections whose pings are due
    /// in the same second wake together.
    origin: Instant,
    ping_at: Instant,
    pong_by: Option<Instant>,
    progress_from: Instant,
    blocked_since: Option<Instant>,
}

impl Timing {
    /// Creates the times of a connection that begins at `now`.
    pub(crate) fn new(origin: Instant, now: Instant) -> Self {
        let ping_at = next_ping(origin, now);
        Self { origin, ping_at, pong_by: None, progress_from: now, blocked_since: None }
    }

    /// Returns the time at which the connection must wake up next. `left` is the time until the token expires.
    pub(crate) fn next(&self, now: Instant, left: Duration, has_progress: bool) -> Instant {
        // The wall clock may be adjusted. Therefore the connection checks the expiry of the token at least with each
        // ping.
        let times = [Some(now + left.min(HEARTBEAT)), self.pong_by, self.blocked_until()];
        let progress = has_progress.then_some(self.progress_from);
        times.into_iter().chain([progress]).flatten().fold(self.ping_at, Instant::min)
    }

    /// Returns the time at which a blocked connection is closed.
    pub(crate) fn blocked_until(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + SEND_WITHIN)
    }

    /// Returns `true` once for each ping that is due.
    pub(crate) fn takes_ping(&mut self, now: Instant) -> bool {
        let is_due = now >= self.ping_at;
        if is_due {
            self.ping_at = next_ping(self.origin, now);
        }
        is_due
    }

    /// Records that a ping was sent.
    pub(crate) fn pinged(&mut self, now: Instant) {
        self.pong_by.get_or_insert(now + PONG_WITHIN);
    }

    /// Records that the client sent something.
    pub(crate) fn heard(&mut self) {
        self.pong_by = None;
    }

    /// Returns `true` if the client did not answer a ping in time.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.pong_by.is_some_and(|by| now >= by)
    }

    /// Returns `true` if progress may be sent now.
    pub(crate) fn lets_progress(&self, now: Instant) -> bool {
        now >= self.progress_from
    }

    /// Records that progress was sent.
    pub(crate) fn progressed(&mut self, now: Instant) {
        self.progress_from = self.progress_from.max(now + TICK);
    }

    /// Records that the socket accepts no frames. Returns `true` if this has lasted too long.
    pub(crate) fn blocked(&mut self, now: Instant) -> bool {
        now >= *self.blocked_since.get_or_insert(now) + SEND_WITHIN
    }

    /// Records that the socket accepts frames. If it accepted none for at least [`TICK`], progress waits [`SLOW_TICK`].
    pub(crate) fn unblocked(&mut self, now: Instant) {
        if self.blocked_since.take().is_some_and(|since| now >= since + TICK) {
            self.progress_from = now + SLOW_TICK;
        }
    }

    /// Records that the waiting frames were dropped.
    pub(crate) fn gave_up(&mut self) {
        self.blocked_since = None;
    }
}

/// Returns the time of the next ping: a whole second, at most [`HEARTBEAT`] away.
fn next_ping(origin: Instant, now: Instant) -> Instant {
    let after = now.saturating_duration_since(origin) + HEARTBEAT;
    origin + Duration::from_secs(after.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_idle_connection_wakes_for_its_pings_alone() {
        let began = Instant::now();
        let mut timing = Timing::new(began, began);
        let mut now = began;
        for ping in 1..=10 {
            now = timing.next(now, LONG, false);
            assert_eq!(now, began + s(25) * ping);
            assert!(timing.takes_ping(now) && !timing.takes_ping(now));
            timing.pinged(now);
            assert_eq!(timing.next(now, LONG, false), now + s(8));
            timing.heard();
        }
    }

    #[test]
    fn connections_that_began_in_the_same_second_are_pinged_together() {
        let origin = Instant::now();
        let began = [1_000, 1_300, 1_999].map(|ms| origin + Duration::from_millis(ms));
        let mut timings = began.map(|now| Timing::new(origin, now));
        for seconds in [26, 51] {
            // A timer may fire late, but not early.
            let now = origin + s(seconds) + Duration::from_millis(3);
            for timing in &mut timings {
                assert_eq!(timing.next(now - s(1), LONG, false), origin + s(seconds));
                assert!(timing.takes_ping(now));
            }
        }
    }

    #[test]
    fn who_does_not_answer_a_ping_is_gone() {
        let now = Instant::now();
        let mut timing = Timing::new(now, now);
        assert!(!timing.is_silent(now + LONG), "no ping was sent");
        timing.pinged(now);
        timing.pinged(now + s(1));
        assert!(!timing.is_silent(now + s(7)) && timing.is_silent(now + s(8)));
        timing.heard();
        assert!(!timing.is_silent(now + s(8)));
    }

    #[test]
    fn the_end_of_a_token_is_not_missed_and_looked_at_with_each_ping() {
        let now = Instant::now();
        let timing = Timing::new(now, now);
        assert_eq!(timing.next(now, s(3), false), now + s(3));
        assert_eq!(timing.next(now + s(10), LONG, false), now + s(25));
    }

    #[test]
    fn progress_waits_for_its_tick_and_longer_where_the_client_does_not_keep_up() {
        let now = Instant::now();
        let mut timing = Timing::new(now, now);
        assert!(timing.lets_progress(now), "the first progress is sent immediately");
        timing.progressed(now);
        assert!(!timing.lets_progress(now + TICK / 2) && timing.lets_progress(now + TICK));
        assert_eq!(timing.next(now, LONG, true), now + TICK);
        assert!(!timing.blocked(now));
        timing.unblocked(now + TICK / 2);
        assert_eq!(timing.next(now, LONG, true), now + TICK, "a short block does not slow progress down");
        assert!(!timing.blocked(now));
        timing.unblocked(now + TICK);
        assert_eq!(timing.next(now, LONG, true), now + TICK + SLOW_TICK);
    }

    #[test]
    fn what_is_not_taken_in_five_seconds_is_too_slow() {
        let now = Instant::now();
        let mut timing = Timing::new(now, now);
        assert!(!timing.blocked(now) && !timing.blocked(now + s(4)) && timing.blocked(now + s(5)));
        assert_eq!(timing.next(now, LONG, false), now + s(5));
        timing.gave_up();
        assert!(!timing.blocked(now + s(5)), "the time for the next frames begins again");
    }
}
