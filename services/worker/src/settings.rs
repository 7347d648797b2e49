//! Settings of the worker. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use clap::Args;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of the worker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// Address at which the worker listens for gateways. Use an internal address
    #[arg(long, env = "WAYBILL_WORKER_ADDR", default_value = "127.0.0.1:8090")]
    pub worker_addr: SocketAddr,
    /// Maximum memory in MiB of all part buffers
    #[arg(long, env = "WAYBILL_WORKER_BUDGET_MIB", default_value_t = 512)]
    pub worker_budget_mib: usize,
    /// Grace period in seconds between the expiry and the cleanup of an upload. Requests that are still running are cut
    /// off by then
    #[arg(long, env = "WAYBILL_EXPIRY_GRACE_S", default_value_t = 15 * 60)]
    pub expiry_grace_s: u64,
    /// Time in seconds for which a deleted file can be restored. After that, its object is deleted and its bytes are
    /// released from the quota
    #[arg(long, env = "WAYBILL_PURGE_AFTER_S", default_value_t = 30 * 24 * 3_600)]
    pub purge_after_s: u64,
    /// Time in seconds for which the row of an expired download token is kept. Its events are kept
    #[arg(long, env = "WAYBILL_TOKENS_KEPT_S", default_value_t = 30 * 24 * 3_600)]
    pub tokens_kept_s: u64,
    /// Number of attempts after which a failing reaction to an event is parked (see `waybill parked`). The pauses
    /// between attempts grow to 30 seconds
    #[arg(long, env = "WAYBILL_PARK_AFTER_ATTEMPTS", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..))]
    pub park_after_attempts: i64,
    /// Interval in seconds at which the used bytes of a company are recalculated
    #[arg(long, env = "WAYBILL_RECALCULATE_EVERY_S", default_value_t = 24 * 3_600)]
    pub recalculate_every_s: u64,
    /// Interval in milliseconds at which the worker searches for overdue uploads, files and tokens
    #[arg(long, env = "WAYBILL_WORKER_SWEEP_MS", default_value_t = 60_000)]
    pub worker_sweep_ms: u64,
}

impl WorkerSettings {
    /// Returns the time between the expiry and the cleanup of an upload.
    pub(crate) fn expiry_grace(&self) -> Duration {
        Duration::from_secs(self.expiry_grace_s)
    }

    /// Returns the time for which a deleted file can be restored.
    pub(crate) fn purge_after(&self) -> Duration {
        Duration::from_secs(self.purge_after_s)
    }

    /// Returns the time for which the row of an ended download token is kept.
    pub(crate) fn tokens_kept(&self) -> Duration {
        Duration::from_secs(self.tokens_kept_s)
    }

    /// Returns the time between two recalculations of a company's quota.
    pub(crate) fn recalculate_every(&self) -> Duration {
        Duration::from_secs(self.recalculate_every_s)
    }

    /// Returns the pause between two rounds of the sweep.
    pub(crate) fn sweep_every(&self) -> Duration {
        Duration::from_millis(self.worker_sweep_ms)
    }
}
