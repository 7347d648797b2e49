//! Authorization rules of files. docs/access.md shows them as a table.
//!
//! The rules decide on [`FileFacts`], which describe a file and the viewer's relation to it. The facts are read from
//! the tables as of one event. [`FileFacts::apply`] then applies the newer events.

use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{DirectoryEvent, FileEvent, ShareEvent};
use waybill_schema::{
    AccessType, ChatroomId, Entity, Event, FileId, Grant, Permissions, Place, ShareId, ThreadId, Timestamp, UserId,
};

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
}

/// State of a company or user in the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Not registered.
    #[default]
    Unknown,
    /// Registered.
    Active,
    /// A removed user or a closed company.
    Ended,
}

/// State of a user and of the user's company. It decides whether the user may do anything at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// State of the company.
    pub company: Presence,
    /// State of the user.
    pub user: Presence,
}

impl Standing {
    /// Returns `true` if company and user are registered.
    pub fn is_active(self) -> bool {
        self.company == Presence::Active && self.user == Presence::Active
    }

    /// Returns `true` if the company was closed or the user was removed.
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

/// Grants of a share without explicit permissions.
const USUAL: &[Grant] = &[Grant::View, Grant::Download];

/// Share of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareFacts {
    /// Id of the share.
    pub id: ShareId,
    /// Chatroom that the file is shared with.
    pub chatroom_id: Option<ChatroomId>,
    /// Thread that the file is shared with.
    pub thread_id: Option<ThreadId>,
    /// User that shared the file.
    pub shared_by: UserId,
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
    /// `true` if the share was revoked, or its chatroom or thread was deleted.
    pub ended: bool,
}

impl ShareFacts {
    /// Returns the chatroom and the thread of the share.
    fn places(&self) -> impl Iterator<Item = Place> {
        self.chatroom_id.map(Place::Chatroom).into_iter().chain(self.thread_id.map(Place::Thread))
    }

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

    /// Returns `true` if the share has neither ended nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.ended && self.expires_at.is_none_or(|at| now < at)
    }

    /// Returns the grants of the viewer. They are empty if the share is not for the viewer.
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

/// Memberships of the viewer in the places of the shares of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The places that the viewer was added to.
    pub places: BTreeSet<Place>,
    /// The chatroom of each thread that belongs to one.
    pub around: BTreeMap<ThreadId, ChatroomId>,
}

/// Returns `true` if an event affects access rights.
pub fn affects_access(event: &Event) -> bool {
    match event {
        Event::Directory(_) | Event::Share(_) => true,
        Event::File(event) => match event {
            FileEvent::FileDeleted(_) | FileEvent::FileRestored(_) | FileEvent::FilePurged(_) => true,
            FileEvent::FileRenamed(_) | FileEvent::FileMetadataChanged(_) | FileEvent::FileSpaceReleased(_) => false,
        },
        Event::Upload(_) | Event::Token(_) | Event::Content(_) | Event::Session(_) | Event::Quota(_) => false,
    }
}

/// Returns `true` if an event deletes `place`, or the chatroom of a thread. `around` has the chatrooms of threads.
pub fn ends(event: &DirectoryEvent, place: Place, around: &BTreeMap<ThreadId, ChatroomId>) -> bool {
    match event {
        DirectoryEvent::ChatroomDeleted(deleted) => match place {
            Place::Chatroom(id) => id == deleted.chatroom_id,
            Place::Thread(id) => around.get(&id) == Some(&deleted.chatroom_id),
        },
        DirectoryEvent::ThreadDeleted(deleted) => place == Place::Thread(deleted.thread_id),
        DirectoryEvent::CompanyRegistered(_)
        | DirectoryEvent::CompanySettingsChanged(_)
        | DirectoryEvent::CompanyClosed(_)
        | DirectoryEvent::UserRegistered(_)
        | DirectoryEvent::UserRemoved(_)
        | DirectoryEvent::ChatroomOpened(_)
        | DirectoryEvent::ThreadOpened(_)
        | DirectoryEvent::MemberAdded(_)
        | DirectoryEvent::MemberRemoved(_) => false,
    }
}

impl Memberships {
    /// Returns `true` if the viewer is a member of the place. Members of a chatroom are also members of its threads.
    pub fn has(&self, place: Place) -> bool {
        let around = match place {
            Place::Thread(thread) => self.around.get(&thread),
            Place::Chatroom(_) => None,
        };
        self.places.contains(&place) || around.is_some_and(|id| self.places.contains(&Place::Chatroom(*id)))
    }

    fn include(&self, share: &ShareFacts) -> bool {
        share.places().any(|place| self.has(place))
    }

    /// Applies a newer event.
    pub fn apply(&mut self, viewer: UserId, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::MemberAdded(added) if added.user_id == viewer => drop(self.places.insert(added.place)),
            DirectoryEvent::MemberRemoved(removed) if removed.user_id == viewer => {
                self.places.remove(&removed.place);
            }
            DirectoryEvent::UserRemoved(removed) if removed.user_id == viewer => self.places.clear(),
            DirectoryEvent::ChatroomDeleted(_) | DirectoryEvent::ThreadDeleted(_) => {
                let around = &self.around;
                self.places.retain(|place| !ends(event, *place, around));
            }
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
    /// The shares of the file.
    pub shares: Vec<ShareFacts>,
    /// The memberships of the viewer.
    pub members: Memberships,
}

impl FileFacts {
    /// Applies an event that is newer than these facts. A share that is not in the tables yet is not added and grants
    /// nothing.
    pub fn apply(&mut self, viewer: UserId, aggregate: Entity, event: &Event) {
        match event {
            Event::Directory(event) => {
                self.members.apply(viewer, event);
                self.end_shares(event);
            }
            Event::File(event) if aggregate == Entity::File(self.file_id) => match event {
                FileEvent::FileDeleted(_) => self.is_deleted = true,
                FileEvent::FileRestored(_) => self.is_deleted = false,
                FileEvent::FilePurged(_) => self.is_purged = true,
                FileEvent::FileRenamed(_) | FileEvent::FileMetadataChanged(_) | FileEvent::FileSpaceReleased(_) => {}
            },
            Event::Share(event) => {
                let is_it = |share: &&mut ShareFacts| aggregate == Entity::Share(share.id);
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
        let is_in = |share: &ShareFacts| share.places().any(|place| ends(event, place, around));
        self.shares.iter_mut().filter(|share| is_in(share)).for_each(|share| share.ended = true);
    }

    /// Returns `true` if the viewer sees the file through this share.
    pub fn lets_see(&self, share: &ShareFacts, viewer: Viewer, now: Timestamp) -> bool {
        !share.grants(viewer, &self.members, now).is_empty()
    }

    /// Checks whether the viewer may share the file with these permissions. A user cannot give more grants than the
    /// user has.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] if the viewer lacks one of the grants.
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

    /// Returns `true` if a list of the files of the share's chatroom or thread shows the file to the viewer through
    /// this share.
    pub fn is_shown(&self, share: ShareId, viewer: Viewer, now: Timestamp) -> bool {
        let sees_all = viewer.is_admin || self.uploaded_by == viewer.user_id;
        let by_it = |share: &ShareFacts| share.is_live(now) && (sees_all || self.lets_see(share, viewer, now));
        !self.is_deleted && !self.is_purged && self.shares.iter().any(|known| known.id == share && by_it(known))
    }

    /// Checks whether the viewer may do the operation.
    ///
    /// # Errors
    /// [`Denied`] if not.
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
