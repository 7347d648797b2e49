//! Ordered shutdown: one signal that everything listens to.

use tokio_util::sync::CancellationToken;

/// Tells the parts of a process to finish what they do and stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not yet asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for it.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Until it is asked for.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` unless, or until, shutdown is asked for.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }

    /// Until the process is told to stop: SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub async fn signal() -> std::io::Result<()> {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
}
