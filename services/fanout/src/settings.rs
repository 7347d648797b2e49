//! Settings of the fan-out. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use clap::Args;
use std::net::SocketAddr;
use waybill_http_kit::slots::{Most, Slots};

/// Settings of the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Fan-out")]
pub struct FanoutSettings {
    /// Address at which the fan-out listens for clients if it runs as a separate process
    #[arg(long, env = "WAYBILL_FANOUT_ADDR", default_value = "127.0.0.1:8092")]
    pub fanout_addr: SocketAddr,
    /// Maximum number of WebSockets that a company has on a fan-out at the same time. A user can have eight
    #[arg(long, env = "WAYBILL_SOCKETS_PER_COMPANY", default_value_t = 50_000)]
    pub sockets_per_company: u32,
    /// Maximum number of WebSockets that a client address, or a /64 network of IPv6, has on a fan-out at the same time
    #[arg(long, env = "WAYBILL_SOCKETS_PER_ADDRESS", default_value_t = 50_000)]
    pub sockets_per_address: u32,
}

impl FanoutSettings {
    /// Returns the limits of WebSockets. [`Clients`](crate::clients::Clients) limits those of a user.
    pub(crate) fn sockets(&self) -> Slots {
        let most = Most { person: u32::MAX, company: self.sockets_per_company, address: self.sockets_per_address };
        Slots::new("WebSockets", most)
    }
}
