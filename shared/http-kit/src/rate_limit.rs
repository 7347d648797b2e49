//! Rate limits per client address, and for addresses that guess tokens.

use crate::{Principal, Problem};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;
use waybill_cache::Cache;
use waybill_schema::ErrorCode;
use waybill_schema::{CompanyId, UserId};
use waybill_service_kit::Shutdown;

/// Number of invalid tokens that one address may send in a burst, and then per second. At this rate nobody can guess a
/// token.
const GUESSES: (NonZeroU32, NonZeroU32) = (NonZeroU32::new(100).unwrap(), NonZeroU32::new(5).unwrap());

/// Time for which an address is blocked after it has sent too many invalid tokens.
const WAIT: Duration = Duration::from_secs(10);

/// Maximum number of blocked addresses that are remembered.
const BLOCKED_MAX: u64 = 100_000;

/// Interval at which the limits forget clients that have sent no requests recently.
pub(crate) const TIDY: Duration = Duration::from_secs(30);

/// Marker in the extensions of a request that has sent a valid download token. A 404 for such a request is not a guess:
/// the token is known, but the bytes of the file are missing.
pub struct ValidToken;

/// Enforces the rate limits of addresses.
pub(crate) struct Limiter {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    guesses: DefaultKeyedRateLimiter<IpAddr>,
    blocked: Cache<IpAddr, ()>,
}

impl Limiter {
    pub(crate) fn new(per_address: NonZeroU32) -> Self {
        let burst = per_address.saturating_mul(TWO);
        Self {
            addresses: RateLimiter::keyed(Quota::per_second(per_address).allow_burst(burst)),
            guesses: RateLimiter::keyed(Quota::per_second(GUESSES.1).allow_burst(GUESSES.0)),
            blocked: Cache::builder(BLOCKED_MAX).time_to_live(WAIT).build(),
        }
    }

    /// Checks whether the client may send a request now. A download link is allowed even from a blocked address,
    /// because other clients with the same address may have valid links ([`Self::refused`]).
    ///
    /// # Errors
    /// 429 `too_many_requests`.
    pub(crate) fn check(&self, address: IpAddr, principal: Option<&Principal>, is_link: bool) -> Result<(), Problem> {
        let client = client(address);
        if self.blocked.contains_key(&client) && principal.is_none() && !is_link {
            return Err(too_many(WAIT));
        }
        if self.addresses.check_key(&client).is_ok() { Ok(()) } else { Err(too_many(Duration::from_secs(1))) }
    }

    /// Records the error response to a client. Returns a 429 to send instead if the address has guessed too many
    /// tokens. `names_token` is `true` if the path of the request names a download token that is not known to be valid:
    /// then a 404 counts as a guess. A 401 always does.
    pub(crate) fn refused(&self, address: IpAddr, problem: &Problem, names_token: bool) -> Option<Problem> {
        let is_guess = problem.status == 401 || (problem.status == 404 && names_token);
        let client = client(address);
        if is_guess && self.guesses.check_key(&client).is_err() {
            self.blocked.insert(&client, ());
        }
        (is_guess && self.blocked.contains_key(&client)).then(|| too_many(WAIT))
    }

    /// Forgets inactive clients.
    pub(crate) fn tidy(&self) {
        self.addresses.retain_recent();
        self.guesses.retain_recent();
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Limits one kind of request per user.
pub struct PerUser(DefaultKeyedRateLimiter<(CompanyId, UserId)>);

impl PerUser {
    /// Allows this many requests per second, and bursts of ten times as many.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(per_second.saturating_mul(TEN))))
    }

    /// Checks whether the user may send a request now.
    ///
    /// # Errors
    /// 429 `too_many_requests`.
    pub fn check(&self, user: &Principal) -> Result<(), Problem> {
        let is_allowed = self.0.check_key(&(user.company_id, user.counted_as())).is_ok();
        if is_allowed { Ok(()) } else { Err(too_many(Duration::from_secs(1))) }
    }

    /// Forgets inactive users periodically, until shutdown.
    pub async fn tidy(&self, shutdown: Shutdown) {
        while shutdown.unless(tokio::time::sleep(TIDY)).await.is_some() {
            self.0.retain_recent();
        }
    }
}

/// Returns an IPv4 address unchanged, and the /64 network of an IPv6 address.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn too_many(wait: Duration) -> Problem {
    let retry_after_s = u32::try_from(wait.as_secs()).ok();
    Problem {
        retry_after_s,
        ..Problem::new(429, ErrorCode::TooManyRequests, "too many requests; wait for the time in Retry-After")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let of = |text: &str| client(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2:ffff::"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn who_guesses_waits_and_who_has_a_token_does_not() {
        let many = NonZeroU32::new(1_000_000).unwrap();
        let limiter = Limiter::new(many);
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        for _ in 0..=GUESSES.0.get() {
            assert!(limiter.check(address, None, false).is_ok());
            let _ = limiter.refused(address, &Problem::not_found("token"), true);
        }
        assert_eq!(limiter.check(address, None, false).unwrap_err().status, 429);
        assert!(limiter.check("192.0.2.8".parse().unwrap(), None, false).is_ok());
        // A blocked address can still use a valid link. For an invalid link it gets 429, which does not reveal that the
        // link is invalid.
        assert!(limiter.check(address, None, true).is_ok());
        assert_eq!(limiter.refused(address, &Problem::not_found("token"), true).unwrap().status, 429);
        assert!(limiter.refused(address, &Problem::not_found("file"), false).is_none());
    }
}
