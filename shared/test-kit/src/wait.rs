//! Waiting on conditions, and the settings of the run.

use std::future::Future;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` answers with a value.
///
/// # Panics
/// After 30 seconds, with `what` was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// The same, for what takes longer.
///
/// # Panics
/// After `patience`, with `what` was waited for.
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
        assert!(Instant::now() < until, "waited in vain for {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A setting that `scripts/test` makes.
///
/// # Panics
/// Where the tests were started without it.
pub fn settings(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with scripts/test"))
}
