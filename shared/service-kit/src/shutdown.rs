//! Shutdown signal of a process.

use tokio_util::sync::CancellationToken;

/// Signal that tells the parts of a process to finish their work and stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Creates a signal that is not triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Triggers the shutdown.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Returns `true` if the shutdown was triggered.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until the shutdown is triggered.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work`, but drops it and returns `None` when the shutdown is triggered.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }

    /// Waits until the process receives SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// Fails if signals cannot be received.
    pub async fn signal() -> std::io::Result<()> {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
}
