//! Access to a file while its bytes are sent. It ends with the share, the membership, the account, the link or the
//! bearer token that it rests on.

use crate::{Access, AccessError, Wanted};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::access::{FileFacts, Operation, Standing, Viewer};
use waybill_schema::events::{DirectoryEvent, TokenEvent};
use waybill_schema::{CompanyId, Entity, Event, Recorded, Timestamp, TokenId};

/// Interval of the checks of a running transfer.
const EVERY: Duration = Duration::from_secs(1);

/// Credential with which a client has started a transfer.
#[derive(Clone, Copy, Debug)]
pub enum Credential {
    /// A token of the user, with the time of its issue (`iat`).
    Bearer {
        /// Time in the token, if it has one.
        issued_at: Option<Timestamp>,
    },
    /// A link of the user. It outlives the tokens of the user, but its rights of an administrator do not.
    Link {
        /// The link.
        token: TokenId,
        /// Time of its issue.
        issued_at: Option<Timestamp>,
    },
}

/// A running transfer of a file to a user, or with a link of that user. The checks apply the recent events in memory.
/// Only if they end the access, the tables are asked if something else permits it.
pub struct Transfer {
    access: Arc<Access>,
    company: CompanyId,
    viewer: Viewer,
    credential: Credential,
    standing: Standing,
    facts: FileFacts,
    seen: u64,
    checked_at: Instant,
}

impl Transfer {
    /// Begins a transfer. `facts` permit it, and were read after the process had followed the log up to `seen`.
    pub fn new(
        access: Arc<Access>,
        company: CompanyId,
        viewer: Viewer,
        credential: Credential,
        facts: FileFacts,
        seen: u64,
    ) -> Self {
        let (standing, checked_at) = (Standing::default(), Instant::now());
        Self { access, company, viewer, credential, standing, facts, seen, checked_at }
    }

    /// Returns `false` if the access has ended. Checks at most once per second, and does not wait otherwise.
    pub async fn may_continue(&mut self, clock: fn() -> Timestamp) -> bool {
        if self.checked_at.elapsed() < EVERY {
            return true;
        }
        self.checked_at = Instant::now();
        match self.apply_recent() {
            Ok(is_revoked) if is_revoked || self.is_barred() => false,
            Ok(_) if self.is_permitted(clock()) => true,
            // Another share may permit it. The recent events do not contain new shares.
            Ok(_) | Err(_) => self.look_again().await.is_ok_and(|is_active| is_active && self.is_permitted(clock())),
        }
    }

    /// Returns `true` if the user or the company has ended, or if the host product invalidated the user's token.
    fn is_barred(&self) -> bool {
        match self.credential {
            Credential::Bearer { issued_at } => self.standing.check(true, issued_at).is_err(),
            Credential::Link { .. } => self.standing.has_ended(),
        }
    }

    fn is_permitted(&self, now: Timestamp) -> bool {
        let viewer = match self.credential {
            Credential::Bearer { .. } => self.viewer,
            Credential::Link { issued_at, .. } => self.standing.viewer_of_link(self.viewer, issued_at),
        };
        self.facts.check(viewer, Operation::Download, now).is_ok()
    }

    /// Applies the events since the last check. Returns `true` if one of them revoked the link.
    fn apply_recent(&mut self) -> Result<bool, AccessError> {
        // Every event up to this sequence is among the recent ones.
        let followed = self.access.followed(self.company);
        let recent = self.access.recent(self.company, self.seen)?;
        let last = recent.last().map_or(0, |last| last.position.seq);
        self.seen = self.seen.max(followed).max(last);
        if recent.iter().any(|recorded| self.revokes_link(recorded)) {
            return Ok(true);
        }
        for recorded in &recent {
            if let Event::Directory(event) = &recorded.event {
                if matches!(event, DirectoryEvent::CompanySettingsChanged(_) | DirectoryEvent::CompanyLimitsSet(_)) {
                    // The facts contain the rules of the company for virus scans, and only the tables have all of them.
                    return Err(AccessError::TablesBehind);
                }
                self.standing.apply(self.viewer.user_id, event);
            }
            self.facts.apply(self.viewer.user_id, recorded.subject.aggregate, &recorded.event);
        }
        Ok(false)
    }

    fn revokes_link(&self, recorded: &Recorded) -> bool {
        let Credential::Link { token, .. } = self.credential else { return false };
        let is_revocation = matches!(recorded.event, Event::Token(TokenEvent::DownloadTokenRevoked(_)));
        is_revocation && recorded.subject.aggregate == Entity::Token(token)
    }

    /// Reads the facts again. Returns `true` if the account is active and its token is valid.
    async fn look_again(&mut self) -> Result<bool, AccessError> {
        let seen = self.access.followed(self.company);
        let wanted = Wanted { files: vec![self.facts.file_id], ..Wanted::default() };
        let mut connection = self.access.database.connection().await?;
        let known = self.access.look(&mut connection, self.company, self.viewer.user_id, &wanted).await;
        let mut known = known?;
        let Some(facts) = known.files.remove(&self.facts.file_id) else { return Ok(false) };
        (self.facts, self.standing, self.seen) = (facts, known.standing, seen);
        Ok(self.standing.is_active() && !self.is_barred())
    }
}
