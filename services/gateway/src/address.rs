//! Whose address a request comes from.

use actix_web::HttpRequest;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

const FORWARDED_FOR: &str = "X-Forwarded-For";

/// Tells addresses of clients from those of proxies in front.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    trusted: Vec<IpNet>,
}

impl Addresses {
    /// What a proxy with one of these addresses says of its client is believed.
    pub(crate) fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted }
    }

    /// The client's address: that of the connection, or where that is a trusted proxy's, the last one that no trusted
    /// proxy has. What others say in `X-Forwarded-For` is not looked at.
    pub(crate) fn of(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let said = request.headers().get_all(FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
        self.client(peer, &hops)
    }

    fn client(&self, peer: IpAddr, hops: &[&str]) -> IpAddr {
        let mut address = peer.to_canonical();
        for hop in hops.iter().rev() {
            if !self.trusted.iter().any(|net| net.contains(&address)) {
                break;
            }
            match hop.parse::<IpAddr>() {
                Ok(next) => address = next.to_canonical(),
                Err(_) => break,
            }
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let addresses = Addresses::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let client = |peer: &str, hops: &[&str]| addresses.client(peer.parse().unwrap(), hops).to_string();
        assert_eq!(client("203.0.113.7", &["198.51.100.1"]), "203.0.113.7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.66", "198.51.100.1", "10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    }
}
