//! State of a directory. Chatrooms and threads have a generation that increases when they end, which makes older
//! memberships invalid. Applying an event therefore never searches the users for memberships to remove.

use super::command::Command;
use super::rules::CompanyRules;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use waybill_schema::events::DirectoryEvent;
use waybill_schema::{ChatroomId, Place, ThreadId, Timestamp, UserId};

/// Number of places of a user from which on invalid memberships are removed, each time the number reaches a power of
/// two.
const TIDIED_FROM: usize = 16;

/// Directory, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) company: Presence,
    pub(super) rules: CompanyRules,
    /// Tokens of all users that were issued before this time are invalid.
    tokens_valid_from: Option<Timestamp>,
    users: HashMap<UserId, User>,
    chatrooms: HashMap<ChatroomId, Chatroom>,
    threads: HashMap<ThreadId, Thread>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Presence {
    #[default]
    Unknown,
    Open,
    Closed,
}

/// Numbers of objects. `entries` also counts removed users and deleted places; the other numbers do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    entries: usize,
    users: usize,
    chatrooms: usize,
    threads: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    active: bool,
    /// Tokens of the user that were issued before this time are invalid.
    tokens_valid_from: Option<Timestamp>,
    /// The places that the user was added to, with the generation of the place at that time.
    places: BTreeMap<Place, u32>,
}

/// State that chatrooms and threads have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Room {
    open: bool,
    /// Number of times that the place has ended. Memberships of earlier generations are invalid.
    generation: u32,
    members: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Chatroom {
    room: Room,
    /// The threads of the chatroom that exist.
    threads: BTreeSet<ThreadId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Thread {
    room: Room,
    chatroom_id: Option<ChatroomId>,
}

impl Room {
    /// Ends the place and its memberships. Returns the number of these memberships.
    fn end(&mut self) -> usize {
        self.open = false;
        self.generation = self.generation.wrapping_add(1);
        std::mem::take(&mut self.members)
    }
}

impl State {
    /// Returns the number of entries: all users, chatrooms and threads that ever existed, and the current memberships.
    pub fn len(&self) -> usize {
        self.counts.entries
    }

    /// Returns `true` if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the company was ever registered.
    pub fn is_known(&self) -> bool {
        self.company != Presence::Unknown
    }

    /// Returns the current numbers of users, chatrooms and threads.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.counts.users, self.counts.chatrooms, self.counts.threads)
    }

    /// Returns `true` if the company is registered and not closed.
    pub fn is_open(&self) -> bool {
        self.company == Presence::Open
    }

    /// Returns the rules for the files of the company.
    pub fn rules(&self) -> &CompanyRules {
        &self.rules
    }

    /// Returns the time before which tokens must not have been issued: of a user alone, or of all users.
    pub(super) fn tokens_valid_from(&self, user: Option<UserId>) -> Option<Timestamp> {
        match user {
            Some(user) => self.users.get(&user)?.tokens_valid_from,
            None => self.tokens_valid_from,
        }
    }

    /// Returns `true` if the user is registered and the company is open.
    pub fn is_active(&self, user: UserId) -> bool {
        self.is_open() && self.users.get(&user).is_some_and(|user| user.active)
    }

    /// Returns `true` if the user was ever registered.
    pub fn is_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    pub(super) fn is_removed(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|user| !user.active)
    }

    /// Returns `true` if the place exists. A thread ends with its chatroom.
    pub fn is_place(&self, place: Place) -> bool {
        self.room(place).is_some_and(|room| room.open)
    }

    /// Returns `true` if the place ever existed.
    pub(super) fn was_place(&self, place: Place) -> bool {
        self.room(place).is_some()
    }

    /// Returns `true` if the user is a member of the place. Members of a chatroom are also members of its threads.
    pub fn is_member(&self, place: Place, user: UserId) -> bool {
        let around = match place {
            Place::Thread(id) => self.chatroom_of(id),
            Place::Chatroom(_) => None,
        };
        self.is_place(place)
            && (self.is_named(place, user)
                || around.is_some_and(|chatroom| self.is_named(Place::Chatroom(chatroom), user)))
    }

    /// Returns `true` if the user was added to the place itself and is still a member.
    pub(super) fn is_named(&self, place: Place, user: UserId) -> bool {
        let generation = self.users.get(&user).and_then(|user| user.places.get(&place));
        generation.is_some_and(|generation| self.generation(place) == Some(*generation))
    }

    /// Returns the chatroom of a thread.
    pub fn chatroom_of(&self, thread: ThreadId) -> Option<ChatroomId> {
        self.threads.get(&thread)?.chatroom_id
    }

    fn room(&self, place: Place) -> Option<&Room> {
        match place {
            Place::Chatroom(id) => self.chatrooms.get(&id).map(|chatroom| &chatroom.room),
            Place::Thread(id) => self.threads.get(&id).map(|thread| &thread.room),
        }
    }

    fn room_mut(&mut self, place: Place) -> Option<&mut Room> {
        match place {
            Place::Chatroom(id) => self.chatrooms.get_mut(&id).map(|chatroom| &mut chatroom.room),
            Place::Thread(id) => self.threads.get_mut(&id).map(|thread| &mut thread.room),
        }
    }

    fn generation(&self, place: Place) -> Option<u32> {
        self.room(place).map(|room| room.generation)
    }

    fn register(&mut self, id: UserId) {
        let before = self.users.len();
        let user = self.users.entry(id).or_default();
        self.counts.users += usize::from(!user.active);
        user.active = true;
        self.counts.entries += self.users.len() - before;
    }

    fn remove(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(&id) else { return };
        self.counts.users -= usize::from(user.active);
        user.active = false;
        for (place, generation) in std::mem::take(&mut user.places) {
            self.leave(place, generation);
        }
    }

    /// Reduces the counts by one membership, if it was still valid.
    fn leave(&mut self, place: Place, generation: u32) {
        if let Some(room) = self.room_mut(place).filter(|room| room.generation == generation) {
            room.members = room.members.saturating_sub(1);
            self.counts.entries = self.counts.entries.saturating_sub(1);
        }
    }

    fn open_chatroom(&mut self, id: ChatroomId) {
        let before = self.chatrooms.len();
        let room = &mut self.chatrooms.entry(id).or_default().room;
        self.counts.chatrooms += usize::from(!room.open);
        room.open = true;
        self.counts.entries += self.chatrooms.len() - before;
    }

    fn delete_chatroom(&mut self, id: ChatroomId) {
        let Some(chatroom) = self.chatrooms.get_mut(&id) else { return };
        self.counts.chatrooms -= usize::from(chatroom.room.open);
        self.counts.entries = self.counts.entries.saturating_sub(chatroom.room.end());
        for thread in std::mem::take(&mut chatroom.threads) {
            self.delete_thread(thread);
        }
    }

    fn open_thread(&mut self, id: ThreadId, chatroom_id: Option<ChatroomId>) {
        let before = self.threads.len();
        let thread = self.threads.entry(id).or_default();
        self.counts.threads += usize::from(!thread.room.open);
        thread.room.open = true;
        thread.chatroom_id = chatroom_id;
        self.counts.entries += self.threads.len() - before;
        if let Some(chatroom) = chatroom_id.and_then(|id| self.chatrooms.get_mut(&id)) {
            chatroom.threads.insert(id);
        }
    }

    fn delete_thread(&mut self, id: ThreadId) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        self.counts.threads -= usize::from(thread.room.open);
        self.counts.entries = self.counts.entries.saturating_sub(thread.room.end());
        if let Some(chatroom) = thread.chatroom_id.and_then(|id| self.chatrooms.get_mut(&id)) {
            chatroom.threads.remove(&id);
        }
    }

    fn add_member(&mut self, place: Place, id: UserId) {
        let Some(generation) = self.generation(place) else { return };
        self.tidy(id);
        let Some(user) = self.users.get_mut(&id) else { return };
        if user.places.insert(place, generation) == Some(generation) {
            return;
        }
        self.counts.entries += 1;
        if let Some(room) = self.room_mut(place) {
            room.members += 1;
        }
    }

    fn remove_member(&mut self, place: Place, id: UserId) {
        if let Some(generation) = self.users.get_mut(&id).and_then(|user| user.places.remove(&place)) {
            self.leave(place, generation);
        }
    }

    /// Removes the invalid memberships of a user each time the number of places reaches a power of two.
    fn tidy(&mut self, id: UserId) {
        let is_due = |user: &User| user.places.len() >= TIDIED_FROM && user.places.len().is_power_of_two();
        let Some(mut places) =
            self.users.get_mut(&id).filter(|user| is_due(user)).map(|user| std::mem::take(&mut user.places))
        else {
            return;
        };
        places.retain(|place, generation| self.generation(*place) == Some(*generation));
        if let Some(user) = self.users.get_mut(&id) {
            user.places = places;
        }
    }
}

/// Applies one event to the state.
pub fn evolve(state: &mut State, event: &DirectoryEvent) {
    match event {
        DirectoryEvent::CompanyRegistered(_) => state.company = Presence::Open,
        DirectoryEvent::CompanySettingsChanged(_) | DirectoryEvent::CompanyLimitsSet(_) => state.rules.apply(event),
        DirectoryEvent::TokensInvalidated(invalidated) => match invalidated.user_id {
            None => state.tokens_valid_from = Some(invalidated.issued_before),
            Some(user) => {
                if let Some(user) = state.users.get_mut(&user) {
                    user.tokens_valid_from = Some(invalidated.issued_before);
                }
            }
        },
        DirectoryEvent::CompanyClosed(_) => state.company = Presence::Closed,
        DirectoryEvent::UserRegistered(user) => state.register(user.user_id),
        DirectoryEvent::UserRemoved(user) => state.remove(user.user_id),
        DirectoryEvent::ChatroomOpened(opened) => state.open_chatroom(opened.chatroom_id),
        DirectoryEvent::ChatroomDeleted(deleted) => state.delete_chatroom(deleted.chatroom_id),
        DirectoryEvent::ThreadOpened(opened) => state.open_thread(opened.thread_id, opened.chatroom_id),
        DirectoryEvent::ThreadDeleted(deleted) => state.delete_thread(deleted.thread_id),
        DirectoryEvent::MemberAdded(added) => state.add_member(added.place, added.user_id),
        DirectoryEvent::MemberRemoved(removed) => state.remove_member(removed.place, removed.user_id),
    }
}

impl State {
    /// Returns a copy of the entries that these commands touch. Deciding the commands on the copy gives the same
    /// results as on the whole state.
    pub(super) fn excerpt(&self, commands: &[Command]) -> Self {
        let mut excerpt = Self {
            company: self.company,
            rules: self.rules.clone(),
            tokens_valid_from: self.tokens_valid_from,
            counts: self.counts,
            ..Self::default()
        };
        for command in commands {
            match command {
                Command::RegisterUser(user) | Command::Admit(user) => excerpt.copy_user(self, *user, &[]),
                Command::RemoveUser(user) => {
                    let places: Vec<Place> =
                        self.users.get(user).into_iter().flat_map(|u| u.places.keys().copied()).collect();
                    places.iter().for_each(|place| excerpt.copy_place(self, *place));
                    excerpt.copy_user(self, *user, &places);
                }
                Command::OpenChatroom(id) => excerpt.copy_place(self, Place::Chatroom(*id)),
                Command::DeleteChatroom(id) => excerpt.copy_threads(self, *id),
                Command::OpenThread(id, around) => {
                    excerpt.copy_place(self, Place::Thread(*id));
                    around.iter().for_each(|id| excerpt.copy_place(self, Place::Chatroom(*id)));
                }
                Command::DeleteThread(id) => excerpt.copy_place(self, Place::Thread(*id)),
                Command::AddMember(place, user) | Command::RemoveMember(place, user) => {
                    excerpt.copy_place(self, *place);
                    excerpt.copy_user(self, *user, &[*place]);
                }
                Command::InvalidateTokens { user_id, .. } => {
                    user_id.iter().for_each(|user| excerpt.copy_user(self, *user, &[]));
                }
                Command::RegisterCompany(_)
                | Command::AdmitCompany(_)
                | Command::ChangeSettings(..)
                | Command::SetLimits(..)
                | Command::CloseCompany => {}
            }
        }
        excerpt
    }

    fn copy_user(&mut self, from: &Self, id: UserId, places: &[Place]) {
        let Some(user) = from.users.get(&id) else { return };
        let copy = self.users.entry(id).or_insert_with(|| User { places: BTreeMap::new(), ..*user });
        copy.places.extend(places.iter().filter_map(|place| user.places.get_key_value(place)));
    }

    /// Copies a place. The threads of a chatroom are not copied, because only its deletion touches them.
    fn copy_place(&mut self, from: &Self, place: Place) {
        match place {
            Place::Chatroom(id) => {
                let Some(chatroom) = from.chatrooms.get(&id) else { return };
                self.chatrooms.entry(id).or_insert_with(|| Chatroom { room: chatroom.room, ..Chatroom::default() });
            }
            Place::Thread(id) => {
                let Some(thread) = from.threads.get(&id) else { return };
                self.threads.insert(id, *thread);
                thread.chatroom_id.iter().for_each(|id| self.copy_place(from, Place::Chatroom(*id)));
            }
        }
    }

    fn copy_threads(&mut self, from: &Self, id: ChatroomId) {
        self.copy_place(from, Place::Chatroom(id));
        let Some(chatroom) = from.chatrooms.get(&id) else { return };
        chatroom.threads.iter().for_each(|id| self.copy_place(from, Place::Thread(*id)));
        if let Some(copy) = self.chatrooms.get_mut(&id) {
            copy.threads.clone_from(&chatroom.threads);
        }
    }
}
