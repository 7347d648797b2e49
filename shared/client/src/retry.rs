//! Retries with growing pauses.

use crate::api::ApiError;
use clap::Args;
use rand::Rng;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Retry options of a command.
#[derive(Args, Clone, Copy)]
pub(crate) struct PatienceArgs {
    /// Seconds without progress after which a transfer is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Transfer")]
    give_up_after: u64,
}

/// Retry policy of a transfer. Retries end after a time without progress.
pub(crate) struct Patience {
    limit: Duration,
    state: Mutex<(Instant, u32)>,
}

impl Patience {
    pub(crate) fn new(args: PatienceArgs) -> Self {
        Self { limit: Duration::from_secs(args.give_up_after), state: Mutex::new((Instant::now(), 0)) }
    }

    /// Records progress: the time and the pauses begin again.
    pub(crate) fn progress(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), 0);
    }

    /// Waits before the next attempt after `error`. Calls `told` with the error and the pause before it waits.
    ///
    /// # Errors
    /// `error`, if a retry cannot succeed or the time without progress is over.
    pub(crate) async fn wait(&self, error: ApiError, told: impl FnOnce(&ApiError, Duration)) -> Result<(), ApiError> {
        if !error.is_passing() {
            return Err(error);
        }
        let pause = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let pause = pause(state.1);
            state.1 += 1;
            let pause = pause.max(error.retry_after().unwrap_or_default());
            if state.0.elapsed() + pause > self.limit {
                return Err(error);
            }
            pause
        };
        told(&error, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Waits after `error`, and then reads the current state with `attempt`, until this succeeds. This does not count
    /// as progress, because the transfer itself can fail again.
    ///
    /// # Errors
    /// The last error, if a retry cannot succeed or the time without progress is over.
    pub(crate) async fn recover<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        mut error: ApiError,
        attempt: impl Fn() -> F,
        told: impl Fn(&ApiError, Duration),
    ) -> Result<T, ApiError> {
        loop {
            self.wait(error, &told).await?;
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(next) => error = next,
            }
        }
    }

    /// Runs `attempt` until it succeeds, which counts as progress.
    ///
    /// # Errors
    /// The last error, if a retry cannot succeed or the time without progress is over.
    pub(crate) async fn persist<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        attempt: impl Fn() -> F,
        told: impl Fn(&ApiError, Duration),
    ) -> Result<T, ApiError> {
        loop {
            match attempt().await {
                Ok(value) => {
                    self.progress();
                    return Ok(value);
                }
                Err(error) => self.wait(error, &told).await?,
            }
        }
    }
}

/// Returns the pause after a number of failures. It doubles with each failure. Random jitter prevents clients that lost
/// the same server from returning at the same time.
fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        assert!(pause(0) <= FIRST_PAUSE && pause(0) >= FIRST_PAUSE / 2);
        assert!((0..100).all(|n| pause(n) <= LONGEST_PAUSE));
        assert!(pause(90) >= LONGEST_PAUSE / 2);
    }
}
