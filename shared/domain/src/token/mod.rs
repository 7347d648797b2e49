//! A download token: good for one file, until its end, for as many downloads as it says.
//!
//! A download is a claim. One request opens it and others continue it, because one person asks more than once: players
//! probe two bytes first, download managers ask again, networks change. A claim counts when the whole file was delivered.
//! Until then, and for a short time afterwards, requests continue it. All answers of a claim together send at most twice
//! the file.

mod claim;

pub use claim::{Asked, By, Claim, GOES_ON_FOR_MS};

use crate::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use uuid::Uuid;
use waybill_schema::events::{
    DownloadTokenContinuedV1, DownloadTokenExpiredV1, DownloadTokenIssuedV1, DownloadTokenRedeemedV2,
    DownloadTokenRevokedV1, DownloadTokenServedV1, TokenEvent,
};
use waybill_schema::{ByteRange, Timestamp};

/// The longest that a token is good for.
pub const LIFETIME_MAX_MS: i64 = 30 * 24 * 3_600_000;
/// For how many downloads a token may be good, if not for any number.
pub const DOWNLOADS_MAX: u32 = 10_000;
/// How many claims the fold remembers. Older ones of a token without a limit cannot be continued.
const REMEMBERED: usize = 128;

/// A token, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What it is for; nothing is known of the token without it.
    pub issued: Option<DownloadTokenIssuedV1>,
    /// How many downloads were delivered.
    pub download_count: u32,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether its row is gone.
    pub forgotten: bool,
    /// How many claims were opened.
    opened: u32,
    /// The newest claims.
    claims: VecDeque<Claim>,
}

/// A command to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand it out.
    Issue(DownloadTokenIssuedV1, Timestamp),
    /// Answer a request with bytes of the file. It opens a claim, or continues one.
    Serve(Asked),
    /// The answer to a request has ended.
    EndServing {
        /// The request.
        request: Uuid,
        /// What was sent.
        sent: ByteRange,
    },
    /// End it.
    Revoke,
    /// Forget it, if it ended by `ended_until`.
    Forget {
        /// The latest end.
        ended_until: Timestamp,
    },
}

impl State {
    /// Returns whether it may still be used.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::TokenEnded`].
    pub fn check(&self, now: Timestamp) -> Result<&DownloadTokenIssuedV1, Refusal> {
        let issued = self.issued.as_ref().ok_or(Refusal::NotFound { what: "token" })?;
        if self.revoked {
            return Err(Refusal::TokenEnded { reason: "it was revoked" });
        }
        if now >= issued.expires_at {
            return Err(Refusal::TokenEnded { reason: "it has expired" });
        }
        Ok(issued)
    }

    /// How much memory it takes, roughly.
    pub fn weight_bytes(&self) -> usize {
        let claims: usize = self.claims.iter().map(Claim::weight_bytes).sum();
        size_of::<Self>() + claims
    }

    /// The remembered claims with their numbers, the newest first.
    fn claims(&self) -> impl Iterator<Item = (u32, &Claim)> {
        (0..self.opened).rev().zip(self.claims.iter().rev())
    }

    fn claim_mut(&mut self, number: u32) -> Option<&mut Claim> {
        let newer = self.opened.checked_sub(number)?.checked_sub(1)?;
        self.claims.iter_mut().rev().nth(usize::try_from(newer).ok()?)
    }
}

/// Folds one event, recorded at `time`.
pub fn evolve(state: &mut State, event: &TokenEvent, time: Timestamp) {
    match event {
        TokenEvent::DownloadTokenIssued(issued) => *state = State { issued: Some(issued.clone()), ..State::default() },
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

/// Decides; no event means that it is so already.
///
/// # Errors
/// The [`Refusal`] that the client is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<TokenEvent>, Refusal> {
    match (command, &state.issued) {
        (Command::Issue(issued, now), None) => {
            if issued.expires_at <= now || issued.expires_at > now.plus_ms(LIFETIME_MAX_MS) {
                return Err(Refusal::TokenInvalid { reason: "expires_in_s is between 1 and 2,592,000, thirty days" });
            }
            if issued.max_downloads.is_some_and(|max| !(1..=DOWNLOADS_MAX).contains(&max)) {
                return Err(Refusal::TokenInvalid {
                    reason: "max_downloads is between 1 and 10,000, or null for any number",
                });
            }
            Ok(Some(issued.into()))
        }
        // When it ends was said the first time.
        (Command::Issue(issued, _), Some(known)) if issued.token_sha256 == known.token_sha256 => Ok(None),
        (Command::Issue(..), Some(_)) => Err(Refusal::IdTaken { what: "token" }),
        (Command::Serve(asked), _) => decide_serve(state, &asked).map(Some),
        (Command::EndServing { request, sent }, _) => Ok(decide_served(state, request, sent)),
        (Command::Forget { ended_until }, issued) => {
            let ended = issued.as_ref().is_some_and(|issued| issued.expires_at <= ended_until);
            Ok((ended && !state.forgotten).then(|| DownloadTokenExpiredV1 {}.into()))
        }
        // Its end is past in any case.
        (Command::Revoke, Some(_)) if state.forgotten => Ok(None),
        (Command::Revoke, None) => Err(Refusal::NotFound { what: "token" }),
        (Command::Revoke, Some(_)) => Ok((!state.revoked).then(|| DownloadTokenRevokedV1 {}.into())),
    }
}

/// Continues the claim of the same client. Otherwise it opens a claim; if no more may be opened, it continues any: whoever
/// has the token counts as the one person that it was given to.
fn decide_serve(state: &State, asked: &Asked) -> Result<TokenEvent, Refusal> {
    let max_downloads = state.check(asked.now)?.max_downloads;
    let open = || state.claims().filter(|(_, claim)| claim.is_open(asked.now));
    let go_on = |number: u32, claim: &Claim| -> Result<TokenEvent, Refusal> {
        claim.check(asked)?;
        Ok(DownloadTokenContinuedV1 {
            claim: number,
            ip_address: asked.by.ip_address,
            user_agent: asked.by.user_agent.clone(),
            request: asked.request,
            range: asked.range,
        }
        .into())
    };
    let redeem = || {
        DownloadTokenRedeemedV2 {
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
        // Without a limit, a request for the whole file is another download.
        (Some(Ok(event)), None) if !asked.is_whole() => return Ok(event),
        (Some(Err(refusal @ Refusal::DownloadRunning)), Some(max)) if state.opened >= max => return Err(refusal),
        _ => {}
    }
    if max_downloads.is_none_or(|max| state.opened < max) {
        return Ok(redeem());
    }
    let mut refusal = Refusal::TokenEnded { reason: "it was good for no more downloads" };
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
    Some(DownloadTokenServedV1 { claim, request, sent, is_delivered }.into())
}
