//! Addresses of clients behind trusted proxies: `X-Forwarded-For`, as common proxies write it, or `Forwarded` (RFC
//! 7239).

use crate::balancer::BalancerWatch;
use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use clap::ValueEnum;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The header in which proxies report their client. Only the configured header is read, because a client can set the
/// other one to any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Host` and `X-Forwarded-Proto`.
    #[default]
    #[value(name = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Distinguishes clients from the trusted proxies in front of Waybill.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    header: ProxyHeader,
    balancer: Arc<BalancerWatch>,
}

impl Proxies {
    /// Trusts `header` in requests from these addresses.
    pub fn new(trusted: Vec<IpNet>, header: ProxyHeader) -> Self {
        Self { trusted, header, balancer: Arc::default() }
    }

    /// Returns the address of the client: the address of the connection or, if it belongs to a trusted proxy, the last
    /// address in the header that does not belong to a trusted proxy.
    pub fn client(&self, request: &HttpRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let names_client = ["X-Forwarded-For", "Forwarded"].iter().any(|name| request.headers().contains_key(*name));
        self.balancer.note(peer.to_canonical(), names_client && !self.is_trusted(peer.to_canonical()));
        self.client_of(peer, &self.hops(request.headers()))
    }

    /// Returns the host and the scheme of the client's request, if a trusted proxy reports them.
    pub fn origin(&self, request: &HttpRequest) -> (Option<String>, Option<String>) {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        if !peer.is_some_and(|peer| self.is_trusted(peer)) {
            return (None, None);
        }
        let headers = request.headers();
        match self.header {
            ProxyHeader::XForwardedFor => {
                let first = |name| values(headers, name).next().map(str::to_owned);
                (first("X-Forwarded-Host"), first("X-Forwarded-Proto"))
            }
            ProxyHeader::Forwarded => {
                let elements = elements(headers);
                let first = |name| elements.first().and_then(|element| parameter(element, name));
                (first("host"), first("proto"))
            }
        }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Returns the client address that each proxy reports, in the order of the proxies from the client on.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        match self.header {
            ProxyHeader::XForwardedFor => values(headers, "X-Forwarded-For").map(node).collect(),
            ProxyHeader::Forwarded => {
                elements(headers).iter().map(|element| node(&parameter(element, "for")?)).collect()
            }
        }
    }

    /// Returns the address of the client. If a hop has no address, the proxy that reported it counts as the client.
    fn client_of(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> IpAddr {
        let mut address = peer.to_canonical();
        for hop in hops.iter().rev() {
            match hop {
                Some(next) if self.is_trusted(address) => address = *next,
                _ => break,
            }
        }
        address
    }
}

/// Returns the elements of the comma-separated lists in all fields of that name.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| value.split(',')).map(str::trim)
}

/// Splits `Forwarded` into elements, one for each proxy. A comma in quotes is not a separator.
fn elements(headers: &HeaderMap) -> Vec<&str> {
    let fields = headers.get_all("Forwarded").filter_map(|value| value.to_str().ok());
    fields.flat_map(|value| outside_quotes(value, ',')).collect()
}

fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let at_separator = move |letter: char| {
        let was_escaped = escaped;
        escaped = quoted && letter == '\\' && !was_escaped;
        quoted ^= letter == '"' && !was_escaped;
        letter == separator && !quoted
    };
    text.split(at_separator).map(str::trim)
}

/// Returns a parameter of an element of `Forwarded`, without quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    outside_quotes(element, ';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        key.eq_ignore_ascii_case(name).then(|| value.replace('\\', ""))
    })
}

/// Parses the address of a node. It may have a port and, for IPv6, brackets or a zone. Returns `None` for `unknown` and
/// for obfuscated identifiers (RFC 7239 §6).
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.parse::<SocketAddr>() {
            Ok(with_port) => return Some(with_port.ip().to_canonical()),
            Err(_) => text,
        },
    };
    let (address, _zone) = address.split_once('%').unwrap_or((address, ""));
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn client(header: ProxyHeader, peer: &str, fields: &[(&str, &str)]) -> String {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()], header);
        let request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 4_000));
        let request = fields.iter().fold(request, |request, field| request.append_header(*field));
        proxies.client(&request.to_http_request()).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let client = |peer: &str, said: &str| client(ProxyHeader::XForwardedFor, peer, &[("X-Forwarded-For", said)]);
        assert_eq!(client("203.0.113.7", "198.51.100.1"), "203.0.113.7");
        assert_eq!(client("10.0.0.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(client("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(client("10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "198.51.100.1, unknown"), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(client("::ffff:10.0.0.1", "2001:db8::1"), "2001:db8::1");
    }

    #[test]
    fn a20_an_address_may_have_a_port_brackets_and_a_zone() {
        for (said, address) in [
            ("203.0.113.7:51008", "203.0.113.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("fe80::7%eth0", "fe80::7"),
            ("[fe80::7%25eth0]:443", "fe80::7"),
            ("\"[2001:db8::7]:443\"", "2001:db8::7"),
            (" 203.0.113.7:51008 , 10.0.0.2:80", "203.0.113.7"),
        ] {
            let fields = [("X-Forwarded-For", said)];
            assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &fields), address, "{said}");
        }
    }

    #[test]
    fn a20_forwarded_is_read_where_the_proxies_write_it() {
        for (said, address) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
            ("for=192.0.2.43:47011, for=\"10.0.0.2:80\";host=\"a,b;for=1.1.1.1\"", "192.0.2.43"),
            ("for=192.0.2.43, for=unknown", "10.0.0.1"),
            ("for=_hidden, for=_SEVKISEK", "10.0.0.1"),
            ("host=a.example", "10.0.0.1"),
            ("for=\"_gazonk\\\"\", for=192.0.2.1", "192.0.2.1"),
        ] {
            // A client can set the other header, so it is ignored.
            let fields = [("Forwarded", said), ("X-Forwarded-For", "9.9.9.9")];
            assert_eq!(client(ProxyHeader::Forwarded, "10.0.0.1", &fields), address, "{said}");
        }
        assert_eq!(client(ProxyHeader::XForwardedFor, "10.0.0.1", &[("Forwarded", "for=9.9.9.9")]), "10.0.0.1");
        let two = [("Forwarded", "for=192.0.2.1"), ("Forwarded", "for=10.0.0.2")];
        assert_eq!(client(ProxyHeader::Forwarded, "10.0.0.1", &two), "192.0.2.1");
    }
}
