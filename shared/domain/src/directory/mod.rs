//! The directory of a company: its settings, users, chatrooms, threads and members, as the host product says them.
//!
//! What ends takes with it what hung on it: a removed user is a member of nothing when they come back, and a chatroom
//! that is opened again has neither the members nor the files of before.

use crate::Refusal;
use crate::limits::Limits;
use crate::media_type::is_pattern;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use waybill_schema::events::{
    ChatroomDeletedV1, ChatroomOpenedV1, CompanyClosedV1, CompanyRegisteredV1, CompanySettings,
    CompanySettingsChangedV1, Event, MemberAddedV1, MemberRemovedV1, ThreadDeletedV1, ThreadOpenedV1, UserRegisteredV1,
    UserRemovedV1,
};
use waybill_schema::{ChatroomId, CompanyId, Place, ThreadId, UserId};

/// How many types a company's allow-list may have.
const MAX_TYPES: usize = 200;
/// A hundred years, in days.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// A directory, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    company: Presence,
    settings: CompanySettings,
    users: HashMap<UserId, bool>,
    chatrooms: HashMap<ChatroomId, bool>,
    threads: HashMap<ThreadId, Thread>,
    members: HashSet<(Place, UserId)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Presence {
    #[default]
    Unknown,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Thread {
    chatroom_id: Option<ChatroomId>,
    open: bool,
}

/// A command to a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The company is there.
    RegisterCompany(CompanyId),
    /// Its settings are these, none of them above the limits.
    ChangeSettings(CompanySettings, Limits),
    /// Nobody of it may do anything any more.
    CloseCompany,
    /// The user is there; the host product says so.
    RegisterUser(UserId),
    /// A user of the company came with a valid token: it is registered, but never brought back.
    AdmitCompany(CompanyId),
    /// The user came with a valid token: is registered, but never brought back.
    Admit(UserId),
    /// The user may do nothing any more.
    RemoveUser(UserId),
    /// The chatroom is there.
    OpenChatroom(ChatroomId),
    /// The chatroom is gone.
    DeleteChatroom(ChatroomId),
    /// The thread is there, inside a chatroom or by itself.
    OpenThread(ThreadId, Option<ChatroomId>),
    /// The thread is gone.
    DeleteThread(ThreadId),
    /// The user belongs to the place.
    AddMember(Place, UserId),
    /// The user does not belong to the place any more.
    RemoveMember(Place, UserId),
}

impl State {
    /// How many users, chatrooms, threads and memberships there were ever.
    pub fn len(&self) -> usize {
        self.users.len() + self.chatrooms.len() + self.threads.len() + self.members.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anything was ever said of the company.
    pub fn is_known(&self) -> bool {
        self.company != Presence::Unknown
    }

    /// How many users, chatrooms and threads there are now.
    pub fn counts(&self) -> (usize, usize, usize) {
        let threads = self.threads.keys().filter(|id| self.is_place(Place::Thread(**id))).count();
        let of = |all: &mut dyn Iterator<Item = &bool>| all.filter(|is| **is).count();
        (of(&mut self.users.values()), of(&mut self.chatrooms.values()), threads)
    }

    /// Whether the company is known and not closed.
    pub fn is_open(&self) -> bool {
        self.company == Presence::Open
    }

    /// What the company says in place of the defaults.
    pub fn settings(&self) -> &CompanySettings {
        &self.settings
    }

    /// Whether the user may do anything.
    pub fn is_active(&self, user: UserId) -> bool {
        self.is_open() && self.users.get(&user) == Some(&true)
    }

    /// Whether the place is there. A thread goes with its chatroom.
    pub fn is_place(&self, place: Place) -> bool {
        match place {
            Place::Chatroom(id) => self.chatrooms.get(&id) == Some(&true),
            Place::Thread(id) => self.threads.get(&id).is_some_and(|thread| {
                thread.open && thread.chatroom_id.is_none_or(|chatroom| self.is_place(Place::Chatroom(chatroom)))
            }),
        }
    }

    /// Whether the user belongs to the place: to a thread also by its chatroom.
    pub fn is_member(&self, place: Place, user: UserId) -> bool {
        let around = match place {
            Place::Thread(id) => self.threads.get(&id).and_then(|thread| thread.chatroom_id),
            Place::Chatroom(_) => None,
        };
        self.is_place(place)
            && (self.members.contains(&(place, user))
                || around.is_some_and(|chatroom| self.members.contains(&(Place::Chatroom(chatroom), user))))
    }

    /// The chatroom that a thread is in.
    pub fn chatroom_of(&self, thread: ThreadId) -> Option<ChatroomId> {
        self.threads.get(&thread)?.chatroom_id
    }
}

/// Folds one event.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::CompanyRegistered(_) => state.company = Presence::Open,
        Event::CompanySettingsChanged(changed) => state.settings = changed.settings.clone(),
        Event::CompanyClosed(_) => state.company = Presence::Closed,
        Event::UserRegistered(user) => drop(state.users.insert(user.user_id, true)),
        Event::UserRemoved(user) => {
            state.users.insert(user.user_id, false);
            state.members.retain(|(_, member)| *member != user.user_id);
        }
        Event::ChatroomOpened(opened) => drop(state.chatrooms.insert(opened.chatroom_id, true)),
        Event::ChatroomDeleted(deleted) => {
            state.chatrooms.insert(deleted.chatroom_id, false);
            let gone: HashSet<ThreadId> = state.threads_in(deleted.chatroom_id).collect();
            state.members.retain(|(place, _)| match place {
                Place::Chatroom(id) => *id != deleted.chatroom_id,
                Place::Thread(id) => !gone.contains(id),
            });
            gone.iter().filter_map(|id| state.threads.get_mut(id).map(|thread| thread.open = false)).for_each(drop);
        }
        Event::ThreadOpened(opened) => {
            state.threads.insert(opened.thread_id, Thread { chatroom_id: opened.chatroom_id, open: true });
        }
        Event::ThreadDeleted(deleted) => {
            if let Some(thread) = state.threads.get_mut(&deleted.thread_id) {
                thread.open = false;
            }
            state.members.retain(|(place, _)| *place != Place::Thread(deleted.thread_id));
        }
        Event::MemberAdded(added) => drop(state.members.insert((added.place, added.user_id))),
        Event::MemberRemoved(removed) => drop(state.members.remove(&(removed.place, removed.user_id))),
        _ => {}
    }
}

impl State {
    fn threads_in(&self, chatroom: ChatroomId) -> impl Iterator<Item = ThreadId> {
        self.threads.iter().filter(move |(_, thread)| thread.chatroom_id == Some(chatroom)).map(|(id, _)| *id)
    }
}

/// Decides; no event means that it is so already.
///
/// # Errors
/// The [`Refusal`] that the caller is to see.
pub fn decide(state: &State, command: Command) -> Result<Option<Event>, Refusal> {
    if let Command::RegisterCompany(company_id) = command {
        return Ok((!state.is_open()).then(|| CompanyRegisteredV1 { company_id }.into()));
    }
    if let (Presence::Unknown, Command::AdmitCompany(company_id)) = (state.company, &command) {
        return Ok(Some(CompanyRegisteredV1 { company_id: *company_id }.into()));
    }
    if state.company == Presence::Unknown {
        return Err(Refusal::NotFound { what: "company" });
    }
    if let Command::CloseCompany = command {
        return Ok(state.is_open().then(|| CompanyClosedV1 {}.into()));
    }
    if !state.is_open() {
        return Err(Refusal::NotRegistered);
    }
    let event: Option<Event> = match command {
        Command::RegisterCompany(_) | Command::AdmitCompany(_) | Command::CloseCompany => None,
        Command::ChangeSettings(settings, limits) => {
            check_settings(&settings, &limits)?;
            (settings != state.settings).then(|| CompanySettingsChangedV1 { settings }.into())
        }
        Command::Admit(user) if state.users.get(&user) == Some(&false) => return Err(Refusal::NotRegistered),
        Command::RegisterUser(user_id) | Command::Admit(user_id) => {
            (!state.is_active(user_id)).then(|| UserRegisteredV1 { user_id }.into())
        }
        Command::RemoveUser(user_id) => {
            known(state.users.contains_key(&user_id), "user")?;
            state.is_active(user_id).then(|| UserRemovedV1 { user_id }.into())
        }
        Command::OpenChatroom(chatroom_id) => {
            (!state.is_place(Place::Chatroom(chatroom_id))).then(|| ChatroomOpenedV1 { chatroom_id }.into())
        }
        Command::DeleteChatroom(chatroom_id) => {
            known(state.chatrooms.contains_key(&chatroom_id), "chatroom")?;
            state.is_place(Place::Chatroom(chatroom_id)).then(|| ChatroomDeletedV1 { chatroom_id }.into())
        }
        Command::OpenThread(thread_id, chatroom_id) => {
            known(chatroom_id.is_none_or(|id| state.is_place(Place::Chatroom(id))), "chatroom")?;
            if state.threads.get(&thread_id).is_some_and(|thread| thread.chatroom_id != chatroom_id) {
                return Err(Refusal::IdTaken { what: "thread" });
            }
            (!state.is_place(Place::Thread(thread_id))).then(|| ThreadOpenedV1 { thread_id, chatroom_id }.into())
        }
        Command::DeleteThread(thread_id) => {
            known(state.threads.contains_key(&thread_id), "thread")?;
            state.is_place(Place::Thread(thread_id)).then(|| ThreadDeletedV1 { thread_id }.into())
        }
        Command::AddMember(place, user_id) => {
            known(state.is_place(place), what(place))?;
            known(state.is_active(user_id), "user")?;
            (!state.members.contains(&(place, user_id))).then(|| MemberAddedV1 { place, user_id }.into())
        }
        Command::RemoveMember(place, user_id) => {
            state.members.contains(&(place, user_id)).then(|| MemberRemovedV1 { place, user_id }.into())
        }
    };
    Ok(event)
}

fn what(place: Place) -> &'static str {
    match place {
        Place::Chatroom(_) => "chatroom",
        Place::Thread(_) => "thread",
    }
}

fn known(is_known: bool, what: &'static str) -> Result<(), Refusal> {
    if is_known { Ok(()) } else { Err(Refusal::NotFound { what }) }
}

fn check_settings(settings: &CompanySettings, limits: &Limits) -> Result<(), Refusal> {
    let within = |value: Option<u64>, limit| value.is_none_or(|value| (1..=limit).contains(&value));
    let types = settings.allowed_mime_types.as_deref().unwrap_or_default();
    let days = settings.retention_days;
    let reason = if !within(settings.max_file_bytes, limits.max_file_bytes) {
        "max_file_bytes is 0, or above the limit of this installation"
    } else if !within(settings.max_session_bytes, limits.max_session_bytes) {
        "max_session_bytes is 0, or above the limit of this installation"
    } else if types.len() > MAX_TYPES || !types.iter().all(|entry| is_pattern(entry)) {
        "allowed_mime_types has at most 200 entries such as application/pdf or image/*, in lower case"
    } else if days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
        "retention_days is between 1 and 36,500"
    } else {
        return Ok(());
    };
    Err(Refusal::SettingsInvalid { reason })
}
