//! Who may do what with a file: the one place that holds the rules. docs/access.md has them as a table.
//!
//! What is known of a file and of the one who asks comes in as [`FileFacts`], read from the tables as of one event;
//! [`FileFacts::apply`] brings them up to what has happened since.

use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{DirectoryEvent, FileEvent, ShareEvent};
use waybill_schema::{
    AccessType, Aggregate, ChatroomId, Event, FileId, Grant, Permissions, Place, ShareId, ThreadId, Timestamp, UserId,
};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user.
    pub user_id: UserId,
    /// Whether they are an admin of their company.
    pub is_admin: bool,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See that the file is there: name, type, size, state.
    View,
    /// Read its bytes, or hand out a token for them.
    Download,
    /// Share it with one more chatroom or thread.
    Share,
    /// Change, pin or revoke this share of it.
    ManageShare(ShareId),
    /// Rename it, change its metadata, delete or restore it, see and revoke everybody's tokens.
    Change,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// They are not to know that the file is there: 404.
    Hidden,
    /// They see the file, but may not do this: 403.
    Forbidden,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nothing is known of them.
    #[default]
    Unknown,
    /// They are.
    Active,
    /// They were removed, or closed.
    Ended,
}

/// Whether somebody may do anything at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Their company.
    pub company: Presence,
    /// They themselves.
    pub user: Presence,
}

impl Standing {
    /// Whether they are registered.
    pub fn is_active(self) -> bool {
        self.company == Presence::Active && self.user == Presence::Active
    }

    /// Whether they were, and are no longer.
    pub fn has_ended(self) -> bool {
        self.company == Presence::Ended || self.user == Presence::Ended
    }

    /// Applies a newer event.
    pub fn apply(&mut self, viewer: UserId, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::CompanyRegistered(_) => self.company = Presence::Active,
            DirectoryEvent::CompanyClosed(_) => self.company = Presence::Ended,
            DirectoryEvent::UserRegistered(user) if user.user_id == viewer => self.user = Presence::Active,
            DirectoryEvent::UserRemoved(user) if user.user_id == viewer => self.user = Presence::Ended,
            DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_) => {}
        }
    }
}

/// What a share grants that says nothing else.
const USUAL: &[Grant] = &[Grant::View, Grant::Download];

/// A share of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFacts {
    /// Its id.
    pub id: ShareId,
    /// With which chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// With which thread.
    pub thread_id: Option<ThreadId>,
    /// Who shared it.
    pub shared_by: UserId,
    /// For whom.
    pub access_type: AccessType,
    /// What they may do, where it is not the usual.
    pub permissions: Option<Permissions>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// Whether it was taken back, or its place is gone.
    pub ended: bool,
}

impl ShareFacts {
    fn apply(&mut self, event: &ShareEvent) {
        match event {
            ShareEvent::ShareChanged(changed) => {
                self.access_type = changed.access_type;
                self.permissions.clone_from(&changed.permissions);
                self.expires_at = changed.expires_at;
            }
            ShareEvent::ShareRevoked(_) => self.ended = true,
            ShareEvent::FileShared(_) | ShareEvent::SharePinned(_) => {}
        }
    }

    /// Whether it lets anybody do anything.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.ended && self.expires_at.is_none_or(|at| now < at)
    }

    /// What it lets the viewer do; nothing where it is not for them.
    fn grants(&self, viewer: Viewer, members: &Memberships, now: Timestamp) -> &[Grant] {
        if !self.is_live(now) {
            return &[];
        }
        let named = self.permissions.as_ref().and_then(|permissions| permissions.users.get(&viewer.user_id));
        let is_for = match self.access_type {
            AccessType::Public => true,
            AccessType::Private => members.include(self),
            AccessType::Restricted => members.include(self) && named.is_some(),
        };
        if !is_for {
            return &[];
        }
        let everyone = self.permissions.as_ref().and_then(|permissions| permissions.everyone.as_ref());
        named.or(everyone).map_or(USUAL, Vec::as_slice)
    }
}

/// Where the viewer belongs, as far as a file's shares are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The places that they were added to.
    pub places: BTreeSet<Place>,
    /// The chatrooms that threads are in.
    pub around: BTreeMap<ThreadId, ChatroomId>,
}

impl Memberships {
    /// Whether the viewer belongs to the place: to a thread also by the chatroom around it.
    pub fn has(&self, place: Place) -> bool {
        let around = match place {
            Place::Thread(thread) => self.around.get(&thread),
            Place::Chatroom(_) => None,
        };
        self.places.contains(&place) || around.is_some_and(|id| self.places.contains(&Place::Chatroom(*id)))
    }

    fn include(&self, share: &ShareFacts) -> bool {
        let chatroom = share.chatroom_id.map(Place::Chatroom);
        let thread = share.thread_id.map(Place::Thread);
        chatroom.into_iter().chain(thread).any(|place| self.has(place))
    }

    /// Applies a newer event.
    pub fn apply(&mut self, viewer: UserId, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::MemberAdded(added) if added.user_id == viewer => drop(self.places.insert(added.place)),
            DirectoryEvent::MemberRemoved(removed) if removed.user_id == viewer => {
                self.places.remove(&removed.place);
            }
            DirectoryEvent::UserRemoved(removed) if removed.user_id == viewer => self.places.clear(),
            DirectoryEvent::ChatroomDeleted(deleted) => {
                self.places.remove(&Place::Chatroom(deleted.chatroom_id));
                let around = &self.around;
                let is_in = |thread: &ThreadId| around.get(thread) == Some(&deleted.chatroom_id);
                self.places.retain(|place| !matches!(place, Place::Thread(thread) if is_in(thread)));
            }
            DirectoryEvent::ThreadDeleted(deleted) => drop(self.places.remove(&Place::Thread(deleted.thread_id))),
            DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ThreadOpened(_) => {}
        }
    }
}

/// What is known of a file and of the viewer's relation to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Which file.
    pub file_id: FileId,
    /// Who uploaded it.
    pub uploaded_by: UserId,
    /// Whether its bytes were verified.
    pub is_verified: bool,
    /// Whether it was deleted softly.
    pub is_deleted: bool,
    /// Whether it is gone for good.
    pub is_purged: bool,
    /// With whom it is shared.
    pub shares: Vec<ShareFacts>,
    /// Where the viewer belongs.
    pub members: Memberships,
}

impl FileFacts {
    /// Applies an event that is newer than these facts. Shares that are not in the tables yet grant nothing.
    pub fn apply(&mut self, viewer: UserId, aggregate: Aggregate, event: &Event) {
        match event {
            Event::Directory(event) => {
                self.members.apply(viewer, event);
                self.end_shares(event);
            }
            Event::File(event) if aggregate == Aggregate::File(self.file_id) => match event {
                FileEvent::FileDeleted(_) => self.is_deleted = true,
                FileEvent::FileRestored(_) => self.is_deleted = false,
                FileEvent::FilePurged(_) => self.is_purged = true,
                FileEvent::FileRenamed(_) | FileEvent::FileMetadataChanged(_) | FileEvent::FileSpaceReleased(_) => {}
            },
            Event::Share(event) => {
                let is_it = |share: &&mut ShareFacts| aggregate == Aggregate::Share(share.id);
                self.shares.iter_mut().filter(is_it).for_each(|share| share.apply(event));
            }
            Event::File(_)
            | Event::Upload(_)
            | Event::Token(_)
            | Event::Content(_)
            | Event::Session(_)
            | Event::Quota(_) => {}
        }
    }

    /// Ends the shares whose chatroom or thread was deleted.
    fn end_shares(&mut self, event: &DirectoryEvent) {
        let around = &self.members.around;
        let is_in = |share: &ShareFacts| match event {
            DirectoryEvent::ChatroomDeleted(deleted) => {
                let of_thread = share.thread_id.and_then(|thread| around.get(&thread));
                share.chatroom_id == Some(deleted.chatroom_id) || of_thread == Some(&deleted.chatroom_id)
            }
            DirectoryEvent::ThreadDeleted(deleted) => share.thread_id == Some(deleted.thread_id),
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_) => false,
        };
        self.shares.iter_mut().filter(|share| is_in(share)).for_each(|share| share.ended = true);
    }

    /// Whether the viewer sees the file by this share.
    pub fn lets_see(&self, share: &ShareFacts, viewer: Viewer, now: Timestamp) -> bool {
        !share.grants(viewer, &self.members, now).is_empty()
    }

    /// Whether the viewer may share the file with these permissions: nobody gives more than they have.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn check_grants(&self, viewer: Viewer, given: Option<&Permissions>, now: Timestamp) -> Result<(), Denied> {
        if viewer.is_admin || self.uploaded_by == viewer.user_id {
            return Ok(());
        }
        let has =
            |grant: &Grant| self.shares.iter().any(|share| share.grants(viewer, &self.members, now).contains(grant));
        let everyone = given.and_then(|given| given.everyone.as_deref()).unwrap_or(USUAL);
        let named = given.into_iter().flat_map(|given| given.users.values().flatten());
        if everyone.iter().chain(named).all(has) { Ok(()) } else { Err(Denied::Forbidden) }
    }

    /// Whether a list of the share's chatroom or thread shows the file to the viewer by this share.
    pub fn is_shown(&self, share: ShareId, viewer: Viewer, now: Timestamp) -> bool {
        let sees_all = viewer.is_admin || self.uploaded_by == viewer.user_id;
        let by_it = |share: &ShareFacts| share.is_live(now) && (sees_all || self.lets_see(share, viewer, now));
        !self.is_deleted && !self.is_purged && self.shares.iter().any(|known| known.id == share && by_it(known))
    }

    /// Whether the viewer may do it.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, viewer: Viewer, operation: Operation, now: Timestamp) -> Result<(), Denied> {
        if self.is_purged {
            return Err(Denied::Hidden);
        }
        if self.uploaded_by == viewer.user_id || viewer.is_admin {
            return Ok(());
        }
        if !self.is_verified || self.is_deleted {
            return Err(Denied::Hidden);
        }
        let granted = |share: &ShareFacts, grant: Grant| share.grants(viewer, &self.members, now).contains(&grant);
        if !self.shares.iter().any(|share| !share.grants(viewer, &self.members, now).is_empty()) {
            return Err(Denied::Hidden);
        }
        let allowed = match operation {
            Operation::View => true,
            Operation::Download => self.shares.iter().any(|share| granted(share, Grant::Download)),
            Operation::Share => self.shares.iter().any(|share| granted(share, Grant::Share)),
            Operation::ManageShare(id) => {
                let of_theirs = |share: &ShareFacts| share.shared_by == viewer.user_id && share.is_live(now);
                self.shares.iter().any(|share| share.id == id && (of_theirs(share) || granted(share, Grant::Manage)))
            }
            Operation::Change => false,
        };
        if allowed { Ok(()) } else { Err(Denied::Forbidden) }
    }
}
