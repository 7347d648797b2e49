//! Pauses between attempts.

use std::time::Duration;

/// Returns the pause before the next delivery of an event after `attempt` deliveries: `first` after the first one, then twice as
/// long each time, and at most `most`.
pub fn growing(first: Duration, most: Duration, attempt: i64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 10)).unwrap_or(10) - 1;
    first.saturating_mul(1 << doublings).min(most)
}
