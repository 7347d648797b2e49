//! Trying again, less and less often.

use super::api::ApiError;
use clap::Args;
use rand::Rng;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How patient a command is.
#[derive(Args, Clone, Copy)]
pub(crate) struct PatienceArgs {
    /// After how many seconds without any progress a transfer is left for later
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Transfer")]
    give_up_after: u64,
}

/// One transfer's patience: it lasts for as long as there is progress.
pub(crate) struct Patience {
    limit: Duration,
    state: Mutex<(Instant, u32)>,
}

impl Patience {
    pub(crate) fn new(args: PatienceArgs) -> Self {
        Self { limit: Duration::from_secs(args.give_up_after), state: Mutex::new((Instant::now(), 0)) }
    }

    /// Something went well.
    pub(crate) fn progress(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), 0);
    }

    /// Waits before the next attempt after `error`; gives it back where it will not pass, or has lasted too long.
    ///
    /// # Errors
    /// `error`.
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

    /// Waits after `error`, and looks with `attempt` where things stand, until that succeeds. It is no progress: what
    /// was tried may fail again.
    ///
    /// # Errors
    /// The last one, where it will not pass, or has lasted too long.
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

    /// Runs `attempt` until it succeeds.
    ///
    /// # Errors
    /// The last one, where it will not pass, or has lasted too long.
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

/// Doubling, with jitter, so that clients that lost the same server do not come back together.
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
