//! Notices a load balancer that is missing in the settings. Without the setting, all clients have its address: they
//! share one rate limit, and records name the balancer instead of the client.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Time for which requests are compared.
const PERIOD: Duration = Duration::from_secs(60);
/// Minimum number of requests in this time. A few requests say nothing.
const LEAST_REQUESTS: u32 = 20;

/// Logs one warning if all requests of a minute come through the same unknown proxy in a private network.
#[derive(Debug, Default)]
pub(crate) struct BalancerWatch {
    has_warned: AtomicBool,
    period: Mutex<Option<Period>>,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    peer: IpAddr,
    requests: u32,
    /// `true` if all requests came from `peer` and have a header of a proxy.
    is_proxied: bool,
}

impl BalancerWatch {
    /// Notes a request from `peer`. `names_client` is `true` if it has a header that proxies set, and `peer` is no
    /// trusted proxy.
    pub(crate) fn note(&self, peer: IpAddr, names_client: bool) {
        if self.has_warned.load(Ordering::Relaxed) {
            return;
        }
        let mut period = self.period.lock().unwrap_or_else(PoisonError::into_inner);
        if is_missing(&mut period, Instant::now(), peer, names_client && is_private(peer)) {
            self.has_warned.store(true, Ordering::Relaxed);
            tracing::warn!(
                address = %peer,
                "all requests come from one private address and name their clients in a header of a proxy; if it is a \
                 load balancer, set WAYBILL_TRUSTED_PROXIES to its address, because all clients share its rate limit"
            );
        }
    }
}

/// Adds a request, and returns `true` if it begins a new period and the previous one had a single proxy.
fn is_missing(period: &mut Option<Period>, now: Instant, peer: IpAddr, is_proxied: bool) -> bool {
    match period {
        Some(current) if now.duration_since(current.began) < PERIOD => {
            current.requests = current.requests.saturating_add(1);
            current.is_proxied &= is_proxied && peer == current.peer;
            false
        }
        _ => {
            let previous = period.replace(Period { began: now, peer, requests: 1, is_proxied });
            previous.is_some_and(|previous| previous.is_proxied && previous.requests >= LEAST_REQUESTS)
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `true` if the second minute begins with a warning after these requests.
    fn warns(requests: impl Iterator<Item = (&'static str, bool)>) -> bool {
        let (mut period, began) = (None, Instant::now());
        for (peer, is_proxied) in requests {
            assert!(!is_missing(&mut period, began, peer.parse().unwrap(), is_proxied));
        }
        is_missing(&mut period, began + PERIOD, "10.0.0.1".parse().unwrap(), true)
    }

    #[test]
    fn h10_a_load_balancer_that_is_not_configured_is_noticed() {
        let through = |count| (0..count).map(|_| ("10.0.0.1", true));
        assert!(warns(through(20)));
        assert!(!warns(through(19)), "too few requests");
        assert!(!warns(through(20).chain([("10.0.0.1", false)])), "a client without a proxy");
        assert!(!warns(through(20).chain([("10.0.0.2", true)])), "several addresses");
    }

    #[test]
    fn only_private_addresses_are_suspected() {
        for (address, expected) in
            [("10.1.2.3", true), ("127.0.0.1", true), ("fd00::1", true), ("203.0.113.7", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }
}
