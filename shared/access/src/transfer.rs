//! Access to a file while its bytes are sent. It ends with the share, the membership, the account, the link, the signed URL
//! or the bearer token that it rests on.

use crate::{Access, AccessError, Wanted};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use waybill_domain::access::{FileFacts, Operation, Standing, Viewer};
use waybill_schema::events::{DirectoryEvent, TokenEvent};
use waybill_schema::{CompanyId, Entity, Event, FileId, Recorded, Timestamp, TokenId};

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
    /// A signed URL of the user, which says that the access was permitted. It ends with the tokens of the user.
    SignedUrl {
        /// A time before the access was permitted.
        since: Timestamp,
        /// End of the URL. A transfer that continues after it needs the access of the user then.
        until: Timestamp,
        /// Time before which tokens of the user were invalid at that time, if any.
        tokens_valid_from: Option<Timestamp>,
    },
}

/// Facts that decide whether a user may read a file, as of one event.
#[derive(Clone, Debug)]
pub struct Rights {
    /// State of the user and of the company.
    pub standing: Standing,
    /// The file and the relation of the user to it.
    pub facts: FileFacts,
    /// The sequence up to which the process had followed the log before it read them.
    pub seen: u64,
}

/// A running transfer of a file to a user, or with a link or signed URL of that user. The checks apply the recent events in
/// memory. Only if they end the access, the tables are asked if something else permits it.
pub struct Transfer {
    access: Arc<Access>,
    company: CompanyId,
    viewer: Viewer,
    file: FileId,
    credential: Credential,
    /// `None` for a signed URL as long as nothing has happened that could end the access.
    rights: Option<Rights>,
    /// `true` if the rights were read again.
    has_looked: bool,
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
        let file = facts.file_id;
        let rights = Some(Rights { standing: Standing::default(), facts, seen });
        Self { access, company, viewer, file, credential, rights, has_looked: false, checked_at: Instant::now() }
    }

    /// Begins a transfer with a signed URL. `known` are rights of the same user to the file that were read earlier, if any.
    /// [`Transfer::check`] decides whether it is permitted.
    pub fn of_signed_url(
        access: Arc<Access>,
        company: CompanyId,
        viewer: Viewer,
        file: FileId,
        credential: Credential,
        known: Option<Rights>,
    ) -> Self {
        Self { access, company, viewer, file, credential, rights: known, has_looked: false, checked_at: Instant::now() }
    }

    /// Returns the rights on which the decision rests; `None` if the signature suffices.
    pub fn rights(&self) -> Option<&Rights> {
        self.rights.as_ref()
    }

    /// Returns `true` if the rights were read from the tables, not given.
    pub fn has_looked(&self) -> bool {
        self.has_looked
    }

    /// Returns whether the access is permitted now, after the process has followed the log to its end.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn check(&mut self, now: Timestamp) -> Result<bool, AccessError> {
        self.access.reach_the_end(self.company).await?;
        self.decide(now).await
    }

    /// Returns `false` if the access has ended. Checks at most once per second, and does not wait otherwise.
    pub async fn may_continue(&mut self, clock: fn() -> Timestamp) -> bool {
        if self.checked_at.elapsed() < EVERY {
            return true;
        }
        self.checked_at = Instant::now();
        self.decide(clock()).await.unwrap_or(false)
    }

    async fn decide(&mut self, now: Timestamp) -> Result<bool, AccessError> {
        if let Credential::SignedUrl { since, until, .. } = self.credential
            && now < until
            && !self.access.may_have_ended(self.company, self.viewer.user_id, self.file, since)
        {
            return Ok(true);
        }
        match self.apply_recent() {
            Ok(is_revoked) if is_revoked || self.is_barred() => Ok(false),
            Ok(_) if self.is_permitted(now) => Ok(true),
            // Another share may permit it. The recent events do not contain new shares.
            Ok(_) | Err(_) => Ok(self.look_again().await? && self.is_permitted(now)),
        }
    }

    /// Returns `true` if the user or the company has ended, or if the host product invalidated the user's token.
    fn is_barred(&self) -> bool {
        let Some(Rights { standing, .. }) = &self.rights else { return false };
        match self.credential {
            Credential::Bearer { issued_at } => standing.check(true, issued_at).is_err(),
            Credential::Link { .. } => standing.has_ended(),
            Credential::SignedUrl { tokens_valid_from, .. } => {
                standing.has_ended() || standing.tokens_valid_from != tokens_valid_from
            }
        }
    }

    fn is_permitted(&self, now: Timestamp) -> bool {
        let Some(Rights { standing, facts, .. }) = &self.rights else { return false };
        let viewer = match self.credential {
            // Its owner can read a deleted file, but pages do not show it.
            Credential::SignedUrl { .. } if facts.is_deleted => return false,
            Credential::Bearer { .. } | Credential::SignedUrl { .. } => self.viewer,
            Credential::Link { issued_at, .. } => standing.viewer_of_link(self.viewer, issued_at),
        };
        facts.check(viewer, Operation::Download, now).is_ok()
    }

    /// Applies the events since the last check. Returns `true` if one of them revoked the link.
    fn apply_recent(&mut self) -> Result<bool, AccessError> {
        let Some(rights) = &mut self.rights else { return Err(AccessError::TablesBehind) };
        // Every event up to this sequence is among the recent ones.
        let followed = self.access.followed(self.company);
        let recent = self.access.recent(self.company, rights.seen)?;
        let last = recent.last().map_or(0, |last| last.position.seq);
        rights.seen = rights.seen.max(followed).max(last);
        if recent.iter().any(|recorded| revokes_link(self.credential, recorded)) {
            return Ok(true);
        }
        for recorded in &recent {
            if let Event::Directory(event) = &recorded.event {
                if matches!(event, DirectoryEvent::CompanySettingsChanged(_) | DirectoryEvent::CompanyLimitsSet(_)) {
                    // The facts contain the rules of the company for virus scans, and only the tables have all of them.
                    return Err(AccessError::TablesBehind);
                }
                rights.standing.apply(self.viewer.user_id, event);
            }
            rights.facts.apply(self.viewer.user_id, recorded.subject.aggregate, &recorded.event);
        }
        Ok(false)
    }

    /// Reads the rights again. Returns `true` if the account is active and its token is valid.
    async fn look_again(&mut self) -> Result<bool, AccessError> {
        let seen = self.access.followed(self.company);
        let wanted = Wanted { files: vec![self.file], ..Wanted::default() };
        let mut known = match self.access.look_kept(self.company, self.viewer.user_id, &wanted).await? {
            Some(known) => known,
            None => {
                let mut connection = self.access.database.connection().await?;
                self.access.look_and_keep(&mut connection, self.company, self.viewer.user_id, &wanted).await?
            }
        };
        let Some(facts) = known.files.remove(&self.file) else { return Ok(false) };
        let standing = known.standing;
        (self.rights, self.has_looked) = (Some(Rights { standing, facts, seen }), true);
        let is_known = match self.credential {
            Credential::Bearer { .. } | Credential::Link { .. } => standing.is_active(),
            // Users whose registration is automatic are not registered before their first command.
            Credential::SignedUrl { .. } => true,
        };
        Ok(is_known && !self.is_barred())
    }
}

fn revokes_link(credential: Credential, recorded: &Recorded) -> bool {
    let Credential::Link { token, .. } = credential else { return false };
    let is_revocation = matches!(recorded.event, Event::Token(TokenEvent::DownloadTokenRevoked(_)));
    is_revocation && recorded.subject.aggregate == Entity::Token(token)
}
