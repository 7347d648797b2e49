//! Admission of requests, which the gateway and the fan-out share: the address of the client, rate limits, and guesses
//! of tokens. Each server checks users and records refusals in its own middleware.

use crate::auth::ExpiredToken;
use crate::points::{PointRates, Points};
use crate::rate_limit::{Limiter, TIDY};
use crate::{Principal, Problem, Proxies, RequestId};
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::{HttpMessage, HttpRequest};
use std::num::NonZeroU32;
use waybill_service_kit::{Shutdown, new_id};

/// Beginning of the WebSocket subprotocol in which a browser sends a ticket.
pub const TICKET_PREFIX: &str = "ticket.";

/// Rates that clients may use.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Points of a user.
    pub user: PointRates,
    /// Requests per second of one client address. Bursts of twice as many are allowed. A /64 network of IPv6 counts as one
    /// address, because one client owns all of it.
    pub per_address: NonZeroU32,
}

/// Decides which clients may send requests now.
pub struct Admission {
    limiter: Limiter,
    points: Points,
    proxies: Proxies,
}

impl Admission {
    /// Creates the limits of one process.
    pub fn new(rates: Rates, proxies: Proxies) -> Self {
        Self { limiter: Limiter::new(rates.per_address), points: Points::new(rates.user), proxies }
    }

    /// Finds the address of the client and stores it with the id of the request, for records and events.
    pub fn identify(&self, request: &ServiceRequest) -> RequestId {
        let address = Some(self.proxies.client(request.request()));
        let known = request.extensions().get::<RequestId>().copied();
        let id = RequestId { address, ..known.unwrap_or(RequestId { id: new_id(), address: None }) };
        request.extensions_mut().insert(id);
        id
    }

    /// Checks whether the address of the client may send a request now. `has_secret` is `true` if the request carries a secret other
    /// than an access token: a download link or a ticket. Such a request is allowed even from a blocked address,
    /// because other clients with the same address may have valid ones ([`Self::refused`]).
    ///
    /// # Errors
    /// 429 `too_many_requests`.
    pub fn check(&self, id: RequestId, principal: Option<&Principal>, has_secret: bool) -> Result<(), Problem> {
        self.limiter.check(id.client(), principal, has_secret)
    }

    /// Takes the points of a request from its user and company, and waits until it may run. The host product has no limit.
    ///
    /// # Errors
    /// 429 `too_many_requests` if it would have to wait for more than five seconds, or `too_many_at_once` if too many
    /// requests wait.
    pub async fn spend(&self, principal: &Principal, points: u32) -> Result<(), Problem> {
        if principal.is_host() {
            return Ok(());
        }
        self.points.spend(principal, points).await
    }

    /// Takes points for what a request turned out to cost. The next requests wait for them.
    pub fn charge(&self, principal: &Principal, points: u32) {
        self.points.charge(principal, points);
    }

    /// Records a refused request. Returns a 429 to send instead if the address has guessed too many tokens. A token
    /// that has expired is no guess. `names_token` is `true` if a 404 is a guess.
    pub fn refused(&self, request: &HttpRequest, problem: &Problem, names_token: bool) -> Option<Problem> {
        if request.extensions().contains::<ExpiredToken>() {
            return None;
        }
        let id = request.extensions().get::<RequestId>().copied()?;
        self.limiter.refused(id.client(), problem, names_token)
    }

    /// Forgets inactive clients periodically, until shutdown.
    pub async fn tidy(&self, shutdown: Shutdown) {
        while shutdown.unless(tokio::time::sleep(TIDY)).await.is_some() {
            self.limiter.tidy();
            self.points.tidy();
        }
    }
}

/// Returns `true` if the request of a browser carries a ticket for a WebSocket.
pub fn has_ticket(headers: &HeaderMap) -> bool {
    subprotocols(headers).any(|protocol| protocol.starts_with(TICKET_PREFIX))
}

/// Returns the WebSocket subprotocols that a client offers.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
