//! A download token: it allows a limited number of downloads of one file, until it expires.
//!
//! A download is a claim. One request opens the claim and others continue it, because one person often sends several
//! requests: players first request two bytes, download managers repeat requests, and networks change. A claim counts
//! when the whole file was delivered. Requests can continue it until then and for a short time afterwards. All
//! responses of a claim together send at most twice the size of the file.

mod aggregate;
mod claim;
mod policy;

pub use aggregate::TokenAggregate;
pub use claim::{Asked, By, Claim, GOES_ON_FOR_MS};
pub use policy::LinkPolicy;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use uuid::Uuid;
use waybill_schema::events::{
    DownloadTokenContinued, DownloadTokenExpired, DownloadTokenIssued, DownloadTokenRedeemed, DownloadTokenRevoked,
    DownloadTokenServed, TokenEvent,
};
use waybill_schema::{ByteRange, Timestamp};

/// Maximum lifetime of a token in milliseconds: 30 days.
pub const LIFETIME_MAX_MS: i64 = 30 * 24 * 3_600_000;
/// Maximum limit of downloads of a token. A token can also have no limit.
pub const DOWNLOADS_MAX: u32 = 10_000;
/// Number of claims that the state remembers. Older claims cannot be continued.
const REMEMBERED: usize = 128;

/// Token, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The values from the issuing. `None` if the token does not exist.
    pub issued: Option<DownloadTokenIssued>,
    /// Time of the issuing.
    pub issued_at: Option<Timestamp>,
    /// Number of delivered downloads.
    pub download_count: u32,
    /// `true` if the token was revoked.
    pub revoked: bool,
    /// `true` if the row of the token was removed from the read model.
    pub forgotten: bool,
    /// Number of claims that were opened.
    opened: u32,
    /// The newest claims, the oldest first.
    claims: VecDeque<Claim>,
}

/// Command to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Issue the token. The second value is the current time.
    Issue(DownloadTokenIssued, Timestamp),
    /// Answer a request with bytes of the file. This opens or continues a claim.
    Serve(Asked),
    /// Record the end of the response to a request.
    EndServing {
        /// The request.
        request: Uuid,
        /// The range that was sent.
        sent: ByteRange,
    },
    /// Revoke the token.
    Revoke,
    /// Remove the row of the token, if the token expired early enough.
    Forget {
        /// The latest expiry of a token to remove.
        ended_until: Timestamp,
    },
}

impl State {
    /// Checks whether the token is valid.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::TokenEnded`].
    pub fn check(&self, now: Timestamp) -> Result<&DownloadTokenIssued, Refusal> {
        let issued = self.issued.as_ref().ok_or(Refusal::NotFound { what: "token" })?;
        if self.revoked {
            return Err(Refusal::TokenEnded { reason: "it was revoked" });
        }
        if now >= issued.expires_at {
            return Err(Refusal::TokenEnded { reason: "it has expired" });
        }
        Ok(issued)
    }

    /// Returns the approximate memory usage in bytes.
    pub fn weight_bytes(&self) -> usize {
        let claims: usize = self.claims.iter().map(Claim::weight_bytes).sum();
        size_of::<Self>() + claims
    }

    /// Returns the remembered claims with their numbers, the newest first.
    fn claims(&self) -> impl Iterator<Item = (u32, &Claim)> {
        (0..self.opened).rev().zip(self.claims.iter().rev())
    }

    fn claim_mut(&mut self, number: u32) -> Option<&mut Claim> {
        let newer = self.opened.checked_sub(number)?.checked_sub(1)?;
        self.claims.iter_mut().rev().nth(usize::try_from(newer).ok()?)
    }
}

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &TokenEvent, time: Timestamp) {
    match event {
        TokenEvent::DownloadTokenIssued(issued) => {
            *state = State { issued: Some(issued.clone()), issued_at: Some(time), ..State::default() };
        }
        TokenEvent::DownloadTokenRedeemed(redeemed) => {
            let claim = Claim::open(redeemed, time);
            state.download_count = state.download_count.saturating_add(u32::from(claim.is_delivered()));
            state.opened = state.opened.saturating_add(1);
            state.claims.push_back(claim);
            if state.claims.len() > REMEMBERED {
                state.claims.pop_front();
            }
        }
        TokenEvent::DownloadTokenContinued(continued) => {
            if let Some(claim) = state.claim_mut(continued.claim) {
                claim.go_on(continued, time);
            }
        }
        TokenEvent::DownloadTokenServed(served) => {
            state.download_count = state.download_count.saturating_add(u32::from(served.is_delivered));
            if let Some(claim) = state.claim_mut(served.claim) {
                claim.served(served, time);
            }
        }
        TokenEvent::DownloadTokenRevoked(_) => state.revoked = true,
        TokenEvent::DownloadTokenExpired(_) => state.forgotten = true,
    }
}

/// Decides on a command. Returns no event if the token already has the requested state.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<TokenEvent>, Refusal> {
    match (command, &state.issued) {
        (Command::Issue(issued, now), None) => {
            if issued.expires_at <= now || issued.expires_at > now.plus_ms(LIFETIME_MAX_MS) {
                return Err(Refusal::TokenInvalid { reason: "expires_in_s must be between 1 and 2,592,000 (30 days)" });
            }
            if issued.max_downloads.is_some_and(|max| !(1..=DOWNLOADS_MAX).contains(&max)) {
                return Err(Refusal::TokenInvalid {
                    reason: "max_downloads must be between 1 and 10,000, or null for no limit",
                });
            }
            Ok(Some(issued.into()))
        }
        // The first request determined the expiry.
        (Command::Issue(issued, _), Some(known)) if issued.token_sha256 == known.token_sha256 => Ok(None),
        (Command::Issue(..), Some(_)) => Err(Refusal::IdTaken { what: "token" }),
        (Command::Serve(asked), _) => decide_serve(state, &asked).map(Some),
        (Command::EndServing { request, sent }, _) => Ok(decide_served(state, request, sent)),
        (Command::Forget { ended_until }, issued) => {
            let ended = issued.as_ref().is_some_and(|issued| issued.expires_at <= ended_until);
            Ok((ended && !state.forgotten).then(|| DownloadTokenExpired {}.into()))
        }
        // A forgotten token has expired, so that there is nothing to revoke.
        (Command::Revoke, Some(_)) if state.forgotten => Ok(None),
        (Command::Revoke, None) => Err(Refusal::NotFound { what: "token" }),
        (Command::Revoke, Some(_)) => Ok((!state.revoked).then(|| DownloadTokenRevoked {}.into())),
    }
}

/// Continues a claim of the same client. Otherwise opens a new claim. If the limit is reached, continues any open
/// claim: every holder of the token counts as the person that received it.
fn decide_serve(state: &State, asked: &Asked) -> Result<TokenEvent, Refusal> {
    let max_downloads = state.check(asked.now)?.max_downloads;
    let open = || state.claims().filter(|(_, claim)| claim.is_open(asked.now));
    let go_on = |number: u32, claim: &Claim| -> Result<TokenEvent, Refusal> {
        claim.check(asked)?;
        Ok(DownloadTokenContinued {
            claim: number,
            ip_address: asked.by.ip_address,
            user_agent: asked.by.user_agent.clone(),
            request: asked.request,
            range: asked.range,
        }
        .into())
    };
    let redeem = || {
        DownloadTokenRedeemed {
            ip_address: asked.by.ip_address,
            user_agent: asked.by.user_agent.clone(),
            request: asked.request,
            range: asked.range,
            size_bytes: asked.size_bytes,
        }
        .into()
    };
    let own = open().find(|(_, claim)| claim.is_of(&asked.by)).map(|(number, claim)| go_on(number, claim));
    match (own, max_downloads) {
        (Some(Ok(event)), Some(_)) => return Ok(event),
        // If the token has no limit, a request for the whole file is a new download.
        (Some(Ok(event)), None) if !asked.is_whole() => return Ok(event),
        (Some(Err(refusal @ Refusal::DownloadRunning)), Some(max)) if state.opened >= max => return Err(refusal),
        _ => {}
    }
    if max_downloads.is_none_or(|max| state.opened < max) {
        return Ok(redeem());
    }
    let mut refusal = Refusal::TokenEnded { reason: "it allows no more downloads" };
    for (number, claim) in open() {
        match go_on(number, claim) {
            Err(running @ Refusal::DownloadRunning) => refusal = running,
            Err(_) => {}
            event => return event,
        }
    }
    Err(refusal)
}

fn decide_served(state: &State, request: Uuid, sent: ByteRange) -> Option<TokenEvent> {
    let (claim, found) = state.claims().find(|(_, claim)| claim.is_running(request))?;
    let is_delivered = found.is_delivered_with(sent);
    Some(DownloadTokenServed { claim, request, sent, is_delivered }.into())
}
