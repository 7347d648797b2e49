//! Settings of the projector. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use clap::Args;
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of the projector.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Projector")]
pub struct ProjectorSettings {
    /// Address of health checks and metrics if the projector runs as a separate process
    #[arg(long, env = "WAYBILL_PROJECTOR_ADDR", default_value = "127.0.0.1:8091")]
    pub projector_addr: SocketAddr,
    /// Time in milliseconds after which other projectors take over the partitions of a projector that no longer answers
    #[arg(long, env = "WAYBILL_PROJECTOR_LEASE_MS", default_value_t = 10_000)]
    pub projector_lease_ms: u64,
}

impl ProjectorSettings {
    /// Returns the time within which another projector takes over the partitions of a projector that died.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.projector_lease_ms)
    }
}
