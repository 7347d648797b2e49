//! Memberships in chatrooms and threads, of the viewer and of the authors of shares.

use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{ChatroomId, Place, ThreadId, UserId};

/// The chatroom of each thread that belongs to one.
pub(super) type Around = BTreeMap<ThreadId, ChatroomId>;

/// Memberships of the viewer in the places of the shares of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The places that the viewer was added to.
    pub places: BTreeSet<Place>,
    /// The chatroom of each thread that belongs to one.
    pub around: BTreeMap<ThreadId, ChatroomId>,
}

/// Author of a share that rests on another share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The places of the shares of the file that the author was added to.
    pub places: BTreeSet<Place>,
    /// `true` if the user was removed.
    pub is_removed: bool,
}

/// One user and the places that the user was added to.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) user_id: UserId,
    pub(super) places: &'a BTreeSet<Place>,
    pub(super) around: &'a Around,
}

impl Member<'_> {
    /// Returns `true` if the user is a member of the place. Members of a chatroom are also members of its threads.
    pub(super) fn is_in(self, place: Place) -> bool {
        has(self.places, self.around, place)
    }
}

fn has(places: &BTreeSet<Place>, around: &Around, place: Place) -> bool {
    let around = match place {
        Place::Thread(thread) => around.get(&thread),
        Place::Chatroom(_) => None,
    };
    places.contains(&place) || around.is_some_and(|id| places.contains(&Place::Chatroom(*id)))
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
        | DirectoryEvent::CompanyLimitsSet(_)
        | DirectoryEvent::TokensInvalidated(_)
        | DirectoryEvent::CompanyClosed(_)
        | DirectoryEvent::UserRegistered(_)
        | DirectoryEvent::UserRemoved(_)
        | DirectoryEvent::ChatroomOpened(_)
        | DirectoryEvent::ThreadOpened(_)
        | DirectoryEvent::MemberAdded(_)
        | DirectoryEvent::MemberRemoved(_) => false,
    }
}

/// Applies an event to the places of a user.
fn apply(places: &mut BTreeSet<Place>, user: UserId, around: &Around, event: &DirectoryEvent) {
    match event {
        DirectoryEvent::MemberAdded(added) if added.user_id == user => drop(places.insert(added.place)),
        DirectoryEvent::MemberRemoved(removed) if removed.user_id == user => {
            places.remove(&removed.place);
        }
        DirectoryEvent::UserRemoved(removed) if removed.user_id == user => places.clear(),
        DirectoryEvent::ChatroomDeleted(_) | DirectoryEvent::ThreadDeleted(_) => {
            places.retain(|place| !ends(event, *place, around));
        }
        DirectoryEvent::MemberAdded(_)
        | DirectoryEvent::MemberRemoved(_)
        | DirectoryEvent::UserRemoved(_)
        | DirectoryEvent::CompanyRegistered(_)
        | DirectoryEvent::CompanySettingsChanged(_)
        | DirectoryEvent::CompanyLimitsSet(_)
        | DirectoryEvent::TokensInvalidated(_)
        | DirectoryEvent::CompanyClosed(_)
        | DirectoryEvent::UserRegistered(_)
        | DirectoryEvent::ChatroomOpened(_)
        | DirectoryEvent::ThreadOpened(_) => {}
    }
}

impl Memberships {
    /// Returns `true` if the viewer is a member of the place. Members of a chatroom are also members of its threads.
    pub fn has(&self, place: Place) -> bool {
        has(&self.places, &self.around, place)
    }

    /// Returns the places together with the viewer.
    pub(super) fn of(&self, user_id: UserId) -> Member<'_> {
        Member { user_id, places: &self.places, around: &self.around }
    }

    /// Applies a newer event.
    pub fn apply(&mut self, viewer: UserId, event: &DirectoryEvent) {
        apply(&mut self.places, viewer, &self.around, event);
    }
}

impl Author {
    /// Applies a newer event.
    pub(super) fn apply(&mut self, user: UserId, around: &Around, event: &DirectoryEvent) {
        apply(&mut self.places, user, around, event);
        match event {
            DirectoryEvent::UserRegistered(registered) if registered.user_id == user => self.is_removed = false,
            DirectoryEvent::UserRemoved(removed) if removed.user_id == user => self.is_removed = true,
            DirectoryEvent::UserRegistered(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::TokensInvalidated(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::ChatroomOpened(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadOpened(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberAdded(_)
            | DirectoryEvent::MemberRemoved(_) => {}
        }
    }
}
