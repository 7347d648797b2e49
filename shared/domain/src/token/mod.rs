//! A download token: good for one file, until its end, for as many downloads as it says.

use crate::Refusal;
use std::collections::VecDeque;
use std::net::IpAddr;
use waybill_schema::Timestamp;
use waybill_schema::events::{
    DownloadTokenExpiredV1, DownloadTokenIssuedV1, DownloadTokenRedeemedV1, DownloadTokenRevokedV1, Event,
};

/// The longest that a token is good for.
pub const LIFETIME_MAX_MS: i64 = 30 * 24 * 3_600_000;
/// How long after a download began the same client may go on with it.
pub const GOES_ON_FOR_MS: i64 = 3_600_000;
/// How many downloads are remembered for that.
const REMEMBERED: usize = 128;

/// A token, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What it is for; nothing is known of the token without it.
    pub issued: Option<DownloadTokenIssuedV1>,
    /// How many downloads began.
    pub download_count: u32,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether its row is gone.
    pub forgotten: bool,
    /// The newest downloads, and when they began.
    newest: VecDeque<(Timestamp, DownloadTokenRedeemedV1)>,
}

/// A command to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand it out.
    Issue(DownloadTokenIssuedV1, Timestamp),
    /// Begin a download now.
    Redeem(DownloadTokenRedeemedV1, Timestamp),
    /// End it.
    Revoke,
    /// Forget it, if it ended by `ended_until`.
    Forget {
        /// The latest end.
        ended_until: Timestamp,
    },
}

impl State {
    /// Whether it may still be used.
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

    /// Whether a client that began a download may go on with it without beginning another one.
    pub fn goes_on(&self, ip_address: IpAddr, user_agent: Option<&str>, now: Timestamp) -> bool {
        self.newest.iter().any(|(began, by)| {
            by.ip_address == ip_address && by.user_agent.as_deref() == user_agent && now < began.plus_ms(GOES_ON_FOR_MS)
        })
    }
}

/// Folds one event, recorded at `time`.
pub fn evolve(state: &mut State, event: &Event, time: Timestamp) {
    match event {
        Event::DownloadTokenIssued(issued) => *state = State { issued: Some(issued.clone()), ..State::default() },
        Event::DownloadTokenRedeemed(redeemed) => {
            state.download_count = state.download_count.saturating_add(1);
            state.newest.push_back((time, redeemed.clone()));
            if state.newest.len() > REMEMBERED {
                state.newest.pop_front();
            }
        }
        Event::DownloadTokenRevoked(_) => state.revoked = true,
        Event::DownloadTokenExpired(_) => state.forgotten = true,
        _ => {}
    }
}

/// Decides; no event means that it is so already.
///
/// # Errors
/// The [`Refusal`] that the client is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<Event>, Refusal> {
    match (command, &state.issued) {
        (Command::Issue(issued, now), None) => {
            if issued.expires_at <= now || issued.expires_at > now.plus_ms(LIFETIME_MAX_MS) {
                return Err(Refusal::TokenInvalid { reason: "expires_in_s is between 1 and 2,592,000, thirty days" });
            }
            if issued.max_downloads == Some(0) {
                return Err(Refusal::TokenInvalid { reason: "max_downloads is at least 1, or null for any number" });
            }
            Ok(Some(issued.into()))
        }
        // When it ends was said the first time.
        (Command::Issue(issued, _), Some(known)) if issued.token_sha256 == known.token_sha256 => Ok(None),
        (Command::Issue(..), Some(_)) => Err(Refusal::IdTaken { what: "token" }),
        (Command::Redeem(redeemed, now), _) => {
            let issued = state.check(now)?;
            if issued.max_downloads.is_some_and(|max| state.download_count >= max) {
                return Err(Refusal::TokenEnded { reason: "it was good for no more downloads" });
            }
            Ok(Some(redeemed.into()))
        }
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
