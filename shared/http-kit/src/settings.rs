//! Settings that all servers for clients share. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use crate::Proxies;
use crate::admission::Rates;
use crate::points::PointRates;
use crate::proxies::ProxyHeader;
use clap::Args;
use ipnet::IpNet;
use std::net::IpAddr;
use std::num::NonZeroU32;

/// Admission of clients to the gateway and the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Clients")]
pub struct AdmissionSettings {
    /// Points per second of a user at each gateway, in the long run. A read costs 1 point, a list or a download 2, a command
    /// 5, and a search what it takes. A company gets ten times as many. Requests without points wait for up to five
    /// seconds and are then refused
    #[arg(long, env = "WAYBILL_RATE_PER_USER", default_value = "100")]
    pub rate_per_user: NonZeroU32,
    /// Maximum number of points that a user can save. A company can save ten times as many
    #[arg(long, env = "WAYBILL_BURST_PER_USER", default_value = "1000")]
    pub burst_per_user: NonZeroU32,
    /// Maximum number of requests per second per client address, or per /64 network for IPv6. Bursts of twice that
    /// number are allowed
    #[arg(long, env = "WAYBILL_RATE_PER_ADDRESS", default_value = "2000")]
    pub rate_per_address: NonZeroU32,
    /// Comma-separated networks or addresses of trusted proxies, such as 10.0.0.0/8. Waybill uses the client address
    /// that a trusted proxy reports
    #[arg(long, env = "WAYBILL_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Header in which the trusted proxies report the client address. The proxies must set it themselves, because
    /// Waybill would also trust a value that a client sends through them
    #[arg(long, env = "WAYBILL_PROXY_HEADER", value_enum, default_value_t)]
    pub proxy_header: ProxyHeader,
}

impl AdmissionSettings {
    /// Returns the rate limits.
    pub fn rates(&self) -> Rates {
        let user = PointRates { per_second: self.rate_per_user, burst: self.burst_per_user };
        Rates { user, per_address: self.rate_per_address }
    }

    /// Returns the trusted proxies.
    pub fn proxies(&self) -> Proxies {
        Proxies::new(self.trusted_proxies.clone(), self.proxy_header)
    }
}

/// Parses a network or a single address.
fn network(text: &str) -> Result<IpNet, ipnet::AddrParseError> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse())
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_proxy_may_be_an_address_or_a_network() {
        let parsed = |text: &str| network(text).map(|network| network.to_string()).ok();
        assert_eq!(parsed("127.0.0.1").as_deref(), Some("127.0.0.1/32"));
        assert_eq!(parsed("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        assert_eq!(parsed("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(parsed("proxy.example"), None);
    }
}
