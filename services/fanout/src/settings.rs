//! Settings of the fan-out. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use clap::Args;
use std::net::SocketAddr;

/// Settings of the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Fan-out")]
pub struct FanoutSettings {
    /// Address at which the fan-out listens for clients if it runs as a separate process
    #[arg(long, env = "WAYBILL_FANOUT_ADDR", default_value = "127.0.0.1:8092")]
    pub fanout_addr: SocketAddr,
}
