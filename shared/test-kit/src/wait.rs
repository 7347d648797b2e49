//! Waits for conditions and reads the settings of the test run.

use std::future::Future;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` returns a value.
///
/// # Panics
/// Panics after 30 s with a message that contains `what`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// Waits until `condition` returns a value, for at most `patience`.
///
/// # Panics
/// Panics after `patience` with a message that contains `what`.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let until = Instant::now() + patience;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < until, "timed out waiting for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns the value of an environment variable that `scripts/test` sets.
///
/// # Panics
/// Panics if the variable is not set.
pub fn settings(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with scripts/test"))
}
