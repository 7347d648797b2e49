//! Authorization rules of files. docs/access.md shows them as a table.
//!
//! The rules decide on [`FileFacts`]: a file and the viewer's relation to it, as of one event. [`FileFacts::apply`] then
//! applies the newer events.

mod ending;
mod membership;
mod share;
mod standing;

pub use ending::{Ended, ended_by};
pub use membership::{Author, Memberships, ends};
pub use share::{ShareFacts, Terms};
pub use standing::{Barred, Presence, Standing};

use crate::scan::{Clearance, ScanRules, Scans};
use membership::Member;
use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{DirectoryEvent, FileEvent, FileShared, ShareEvent, TokenEvent};
use waybill_schema::{Entity, Event, FileId, Grant, LocationPolicy, ShareBasis, ShareId, Timestamp, UserId};

/// Maximum number of shares that one share rests on.
const CHAIN_MAX: usize = 16;

/// User whose access is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user.
    pub user_id: UserId,
    /// `true` if the user is an admin of the company.
    pub is_admin: bool,
}

/// Operation on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See that the file exists: name, type, size and state.
    View,
    /// Read the bytes of the file, or issue a download token.
    Download,
    /// Share the file with another chatroom or thread.
    Share,
    /// Change, pin or revoke this share of the file.
    ManageShare(ShareId),
    /// Rename the file, change its metadata, delete or restore it, and see and revoke the tokens of all users.
    Change,
}

/// Reason why access is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The viewer may not know that the file exists: status 404.
    Hidden,
    /// The viewer sees the file but may not do this operation: status 403.
    Forbidden,
    /// The share would reach more people, or last longer, than the share that permits it: status 403.
    Wider,
    /// The file must be scanned for viruses first: status 409.
    NotScanned,
    /// The file is infected: status 403.
    Infected,
    /// The file could not be scanned completely, and the company does not permit such files: status 403.
    Unscanned,
}

/// Returns `true` if an event affects access rights.
pub fn affects_access(event: &Event) -> bool {
    match event {
        Event::Directory(_) | Event::Share(_) => true,
        Event::File(event) => match event {
            FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FilePurged(_)
            | FileEvent::FileScanned(_)
            | FileEvent::FileReleased(_) => true,
            FileEvent::FileRenamed(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileLabelled(_)
            | FileEvent::FileSpaceReleased(_)
            | FileEvent::PreviewsMade(_)
            | FileEvent::PreviewFailed(_)
            | FileEvent::FileArchived(_)
            | FileEvent::FileRestoreRequested(_)
            | FileEvent::FileThawed(_)
            | FileEvent::LocationStripped(_)
            | FileEvent::FileChecksummed(_) => false,
        },
        // Running downloads with the token are stopped.
        Event::Token(event) => matches!(event, TokenEvent::DownloadTokenRevoked(_)),
        Event::Upload(_) | Event::Link(_) | Event::Content(_) | Event::Session(_) | Event::Quota(_) => false,
    }
}

/// Facts about a file and the viewer's relation to it that the rules depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// The file.
    pub file_id: FileId,
    /// The user that uploaded the file.
    pub uploaded_by: UserId,
    /// `true` if the bytes of the file were verified.
    pub is_verified: bool,
    /// `true` if the file is deleted and can still be restored.
    pub is_deleted: bool,
    /// `true` if the file was purged.
    pub is_purged: bool,
    /// Scans of the file for viruses.
    pub scans: Scans,
    /// Rules of the company for scans.
    pub scan_rules: ScanRules,
    /// Policy of the company for metadata in pictures.
    pub location_policy: LocationPolicy,
    /// The shares of the file that were not revoked when the facts were read.
    pub shares: BTreeMap<ShareId, ShareFacts>,
    /// The memberships of the viewer.
    pub members: Memberships,
    /// The authors of the shares that rest on other shares.
    pub authors: BTreeMap<UserId, Author>,
}

/// Parts of a share that a viewer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownShare {
    /// The whole share.
    Whole,
    /// The share without the other users that it names.
    WithoutOthers,
}

/// A share that a user may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// The right to make it.
    pub basis: ShareBasis,
    /// Its end, which is at most the end of the share that permits it.
    pub expires_at: Option<Timestamp>,
}

impl FileFacts {
    /// Applies an event that is newer than these facts. A share that is not in the tables yet is not added and grants
    /// nothing.
    pub fn apply(&mut self, viewer: UserId, aggregate: Entity, event: &Event) {
        match event {
            Event::Directory(event) => {
                self.members.apply(viewer, event);
                let around = &self.members.around;
                self.authors.iter_mut().for_each(|(user, author)| author.apply(*user, around, event));
                self.end_shares(event);
            }
            Event::File(event) if aggregate == Entity::File(self.file_id) => {
                self.scans.apply(event);
                match event {
                    FileEvent::FileDeleted(_) => self.is_deleted = true,
                    FileEvent::FileRestored(_) => self.is_deleted = false,
                    FileEvent::FilePurged(_) => self.is_purged = true,
                    FileEvent::FileRenamed(_)
                    | FileEvent::FileMetadataChanged(_)
                    | FileEvent::FileLabelled(_)
                    | FileEvent::FileSpaceReleased(_)
                    | FileEvent::FileScanned(_)
                    | FileEvent::FileReleased(_)
                    | FileEvent::PreviewsMade(_)
                    | FileEvent::PreviewFailed(_)
                    | FileEvent::FileArchived(_)
                    | FileEvent::FileRestoreRequested(_)
                    | FileEvent::FileThawed(_)
                    | FileEvent::LocationStripped(_)
                    | FileEvent::FileChecksummed(_) => {}
                }
            }
            Event::Share(event) => {
                let Entity::Share(id) = aggregate else { return };
                self.shares.entry(id).and_modify(|share| share.apply(event));
                let begins_again = matches!(event, ShareEvent::FileShared(_));
                self.shares.values_mut().for_each(|share| share.ended |= begins_again && share.parent == Some(id));
            }
            Event::File(_)
            | Event::Upload(_)
            | Event::Token(_)
            | Event::Link(_)
            | Event::Content(_)
            | Event::Session(_)
            | Event::Quota(_) => {}
        }
    }

    /// Ends the shares whose chatroom or thread was deleted.
    fn end_shares(&mut self, event: &DirectoryEvent) {
        let around = &self.members.around;
        let is_in = |share: &ShareFacts| share.places().any(|place| ends(event, place, around));
        self.shares.values_mut().filter(|share| is_in(share)).for_each(|share| share.ended = true);
    }

    /// Returns the shares that a share rests on, the nearest first. Returns `None` if one of them was revoked.
    fn chain(&self, share: &ShareFacts) -> Option<Vec<&ShareFacts>> {
        let mut chain = Vec::new();
        let mut next = share.parent;
        while let Some(id) = next {
            let parent = self.shares.get(&id).filter(|_| chain.len() < CHAIN_MAX)?;
            chain.push(parent);
            next = parent.parent;
        }
        Some(chain)
    }

    /// Returns the grants of a user through a share. A share that rests on another one gives nobody more than its
    /// author has through that one, and reaches nobody that it may not reach through all shares that it rests on.
    fn grants(&self, share: &ShareFacts, user: Member<'_>, now: Timestamp) -> BTreeSet<Grant> {
        let mut grants: BTreeSet<Grant> = share.own_grants(user, now).iter().copied().collect();
        if grants.is_empty() || share.parent.is_none() {
            return grants;
        }
        let is_reached = |parent: &&ShareFacts| parent.lets_reach(share, user);
        if self.chain(share).is_some_and(|chain| chain.iter().all(is_reached)) {
            let permitted = self.permitted_by_parent(share, now);
            grants.retain(|grant| permitted.contains(grant));
        } else {
            grants.clear();
        }
        grants
    }

    /// Returns the grants that a share may give because of the share that it rests on. They are empty if its author may
    /// not share the file any more.
    fn permitted_by_parent(&self, share: &ShareFacts, now: Timestamp) -> BTreeSet<Grant> {
        let parent = share.parent.and_then(|parent| self.shares.get(&parent));
        let author = self.authors.get(&share.shared_by).filter(|author| !author.is_removed);
        let (Some(parent), Some(author)) = (parent, author) else { return BTreeSet::new() };
        let author = Member { user_id: share.shared_by, places: &author.places, around: &self.members.around };
        let grants = self.grants(parent, author, now);
        if grants.contains(&Grant::Share) { grants } else { BTreeSet::new() }
    }

    /// Returns `true` if the share has neither ended nor expired, and the share that it rests on still permits it.
    pub fn is_live(&self, share: &ShareFacts, now: Timestamp) -> bool {
        let is_permitted = || self.chain(share).is_some() && !self.permitted_by_parent(share, now).is_empty();
        share.is_current(now) && (share.parent.is_none() || is_permitted())
    }

    /// Returns `true` if the share, or one that it rests on, was revoked or ended with its chatroom or thread.
    pub fn has_ended(&self, share: &ShareFacts) -> bool {
        share.ended || self.chain(share).is_none_or(|chain| chain.iter().any(|parent| parent.ended))
    }

    /// Returns `true` if the viewer sees the file through this share.
    pub fn lets_see(&self, share: &ShareFacts, viewer: Viewer, now: Timestamp) -> bool {
        !self.grants(share, self.members.of(viewer.user_id), now).is_empty()
    }

    /// Returns `true` if the viewer may change this share, and see all users that it names.
    pub fn may_manage(&self, share: &ShareFacts, viewer: Viewer, now: Timestamp) -> bool {
        let is_theirs = share.shared_by == viewer.user_id && self.is_live(share, now);
        is_theirs
            || self.is_owner(viewer)
            || self.grants(share, self.members.of(viewer.user_id), now).contains(&Grant::Manage)
    }

    /// Returns `true` if the viewer gets the bytes of the file as they were uploaded, and `false` if the metadata of pictures is
    /// removed. The viewer is `None` for the holder of a download token.
    pub fn gives_original(&self, viewer: Option<Viewer>) -> bool {
        self.location_policy == LocationPolicy::Off || viewer.is_some_and(|viewer| self.is_owner(viewer))
    }

    fn is_owner(&self, viewer: Viewer) -> bool {
        viewer.is_admin || self.uploaded_by == viewer.user_id
    }

    /// Returns the earliest end of a share and of those that it rests on.
    fn end(&self, share: &ShareFacts) -> Option<Timestamp> {
        let chain = self.chain(share).unwrap_or_default();
        chain.into_iter().chain([share]).filter_map(|share| share.expires_at).min()
    }

    /// Returns `true` if a share with these terms may rest on `parent`.
    fn fits(&self, terms: Terms<'_>, parent: &ShareFacts) -> bool {
        let Some(chain) = self.chain(parent).filter(|chain| chain.len() < CHAIN_MAX) else { return false };
        let is_within = chain.into_iter().chain([parent]).all(|share| terms.stays_within(share.terms()));
        is_within && terms.ends_by(self.end(parent))
    }

    /// Decides whether the viewer may share the file, and by which right. A viewer who is neither the uploader nor an
    /// admin needs one share that gives all grants of the new one. The new share reaches at most the same group of
    /// users, and ends with it.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] if the viewer lacks one of the grants, and [`Denied::Wider`].
    pub fn permit(&self, viewer: Viewer, terms: Terms<'_>, now: Timestamp) -> Result<Permitted, Denied> {
        let own = |basis| Ok(Permitted { basis, expires_at: terms.expires_at });
        if self.uploaded_by == viewer.user_id {
            return own(ShareBasis::Uploader);
        }
        if viewer.is_admin {
            return own(ShareBasis::Admin);
        }
        let (user, given) = (self.members.of(viewer.user_id), terms.grants());
        let gives_all = |share: &&ShareFacts| {
            let grants = self.grants(share, user, now);
            grants.contains(&Grant::Share) && given.is_subset(&grants)
        };
        let parents: Vec<&ShareFacts> = self.shares.values().filter(gives_all).collect();
        if parents.is_empty() {
            return Err(Denied::Forbidden);
        }
        let until = |parent: &ShareFacts| terms.expires_at.or_else(|| self.end(parent));
        let fits = |parent: &&ShareFacts| self.fits(Terms { expires_at: until(parent), ..terms }, parent);
        let longest = |parent: &&ShareFacts| (until(parent).is_none(), until(parent));
        let parent = parents.into_iter().filter(fits).max_by_key(longest).ok_or(Denied::Wider)?;
        Ok(Permitted { basis: ShareBasis::Share(parent.id), expires_at: until(parent) })
    }

    /// Checks whether the viewer, who may change the share `known`, may give it these terms.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] if the viewer lacks one of the grants. [`Denied::Wider`] if the share would exceed the one
    /// that it rests on, or, changed by somebody else than the uploader and admins, its present terms.
    pub fn check_change(
        &self,
        viewer: Viewer,
        known: &FileShared,
        terms: Terms<'_>,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let is_owner = self.is_owner(viewer);
        let user = self.members.of(viewer.user_id);
        let held = || self.shares.values().flat_map(|share| self.grants(share, user, now)).collect::<BTreeSet<_>>();
        if !is_owner && !terms.grants().is_subset(&held()) {
            return Err(Denied::Forbidden);
        }
        let is_within = match known.basis.parent() {
            Some(parent) => self.shares.get(&parent).is_some_and(|parent| self.fits(terms, parent)),
            None => {
                let present = Terms::from(known);
                is_owner || (terms.stays_within(present) && terms.ends_by(present.expires_at))
            }
        };
        if is_within { Ok(()) } else { Err(Denied::Wider) }
    }

    /// Returns how a list of the files of the share's chatroom or thread shows the file to the viewer through this
    /// share, or `None` if it does not. Before a file is verified, only its uploader and admins see it.
    pub fn shown_by(&self, share: ShareId, viewer: Viewer, now: Timestamp) -> Option<ShownShare> {
        let share = self.shares.get(&share).filter(|_| !self.is_deleted && !self.is_purged)?;
        let is_seen = match self.is_owner(viewer) {
            true => self.is_live(share, now),
            false => self.is_verified && self.clearance().is_ok() && self.lets_see(share, viewer, now),
        };
        let shown = if self.may_manage(share, viewer, now) { ShownShare::Whole } else { ShownShare::WithoutOthers };
        is_seen.then_some(shown)
    }

    /// Returns whether the scans of the file and the rules of the company let anybody read it, after it is verified.
    ///
    /// # Errors
    /// [`Denied::NotScanned`], [`Denied::Infected`], [`Denied::Unscanned`].
    pub fn clearance(&self) -> Result<(), Denied> {
        match self.scan_rules.clearance_of(&self.scans) {
            Clearance::Readable => Ok(()),
            Clearance::Waiting => Err(Denied::NotScanned),
            Clearance::Infected => Err(Denied::Infected),
            Clearance::Unscanned => Err(Denied::Unscanned),
        }
    }

    /// Checks whether the viewer may do the operation.
    ///
    /// # Errors
    /// [`Denied`] if not.
    pub fn check(&self, viewer: Viewer, operation: Operation, now: Timestamp) -> Result<(), Denied> {
        if self.is_purged {
            return Err(Denied::Hidden);
        }
        let cleared = self.clearance();
        if self.is_owner(viewer) {
            return match operation {
                Operation::Download => cleared,
                Operation::Share if self.is_verified => cleared,
                Operation::Share | Operation::View | Operation::ManageShare(_) | Operation::Change => Ok(()),
            };
        }
        if !self.is_verified || self.is_deleted || cleared == Err(Denied::NotScanned) {
            return Err(Denied::Hidden);
        }
        let user = self.members.of(viewer.user_id);
        let grants: BTreeSet<Grant> = self.shares.values().flat_map(|share| self.grants(share, user, now)).collect();
        if grants.is_empty() {
            return Err(Denied::Hidden);
        }
        cleared?;
        let allowed = match operation {
            Operation::View => true,
            Operation::Download => grants.contains(&Grant::Download),
            Operation::Share => grants.contains(&Grant::Share),
            Operation::ManageShare(id) => self.shares.get(&id).is_some_and(|share| self.may_manage(share, viewer, now)),
            Operation::Change => false,
        };
        if allowed { Ok(()) } else { Err(Denied::Forbidden) }
    }
}
