//! The directory of a company: the settings, users, chatrooms, threads and memberships that the host product registers.
//!
//! Deleting a parent invalidates its children. A user that is registered again after its removal has no memberships. A
//! chatroom that is opened again after its deletion has none of its previous members and files.

mod aggregate;
mod command;
mod rules;
mod state;

pub use aggregate::DirectoryAggregate;
pub use command::Command;
pub use rules::CompanyRules;
pub use state::{State, evolve};

use state::Presence;

use crate::Refusal;
use waybill_schema::Place;
use waybill_schema::events::{
    ChatroomDeleted, ChatroomOpened, CompanyClosed, CompanyLimitsSet, CompanyRegistered, CompanySettingsChanged,
    DirectoryEvent, MemberAdded, MemberRemoved, ThreadDeleted, ThreadOpened, TokensInvalidated, UserRegistered,
    UserRemoved,
};

/// Decides on a command. Returns no event if the directory already has the requested state.
///
/// # Errors
/// The [`Refusal`] for the caller.
pub fn decide(state: &State, command: Command) -> Result<Option<DirectoryEvent>, Refusal> {
    if let Command::RegisterCompany(company_id) = command {
        return Ok((!state.is_open()).then(|| CompanyRegistered { company_id }.into()));
    }
    if let (Presence::Unknown, Command::AdmitCompany(company_id)) = (state.company, &command) {
        return Ok(Some(CompanyRegistered { company_id: *company_id }.into()));
    }
    if state.company == Presence::Unknown {
        return Err(Refusal::NotFound { what: "company" });
    }
    if let Command::CloseCompany = command {
        return Ok(state.is_open().then(|| CompanyClosed {}.into()));
    }
    if !state.is_open() {
        return Err(Refusal::NotRegistered);
    }
    let event: Option<DirectoryEvent> = match command {
        Command::RegisterCompany(_) | Command::AdmitCompany(_) | Command::CloseCompany => None,
        Command::ChangeSettings(settings, limits) => {
            state.rules.check_settings(&settings, limits)?;
            (settings != state.rules.settings).then(|| CompanySettingsChanged { settings }.into())
        }
        Command::SetLimits(set, limits) => {
            rules::check_limits(&set, limits)?;
            let known = CompanyLimitsSet {
                limits: state.rules.limits.clone(),
                min_retention_days: state.rules.min_retention_days,
            };
            (set != known).then(|| set.into())
        }
        Command::InvalidateTokens { user_id, issued_before } => {
            known(user_id.is_none_or(|user| state.is_user(user)), "user")?;
            let is_new = state.tokens_valid_from(user_id).is_none_or(|known| known < issued_before);
            is_new.then(|| TokensInvalidated { user_id, issued_before }.into())
        }
        Command::Admit(user) if state.is_removed(user) => return Err(Refusal::NotRegistered),
        Command::RegisterUser(user_id) | Command::Admit(user_id) => {
            (!state.is_active(user_id)).then(|| UserRegistered { user_id }.into())
        }
        Command::RemoveUser(user_id) => {
            known(state.is_user(user_id), "user")?;
            state.is_active(user_id).then(|| UserRemoved { user_id }.into())
        }
        Command::OpenChatroom(chatroom_id) => {
            (!state.is_place(Place::Chatroom(chatroom_id))).then(|| ChatroomOpened { chatroom_id }.into())
        }
        Command::DeleteChatroom(chatroom_id) => {
            known(state.was_place(Place::Chatroom(chatroom_id)), "chatroom")?;
            state.is_place(Place::Chatroom(chatroom_id)).then(|| ChatroomDeleted { chatroom_id }.into())
        }
        Command::OpenThread(thread_id, chatroom_id) => {
            known(chatroom_id.is_none_or(|id| state.is_place(Place::Chatroom(id))), "chatroom")?;
            if state.was_place(Place::Thread(thread_id)) && state.chatroom_of(thread_id) != chatroom_id {
                return Err(Refusal::IdTaken { what: "thread" });
            }
            (!state.is_place(Place::Thread(thread_id))).then(|| ThreadOpened { thread_id, chatroom_id }.into())
        }
        Command::DeleteThread(thread_id) => {
            known(state.was_place(Place::Thread(thread_id)), "thread")?;
            state.is_place(Place::Thread(thread_id)).then(|| ThreadDeleted { thread_id }.into())
        }
        Command::AddMember(place, user_id) => {
            known(state.is_place(place), what(place))?;
            known(state.is_active(user_id), "user")?;
            (!state.is_named(place, user_id)).then(|| MemberAdded { place, user_id }.into())
        }
        Command::RemoveMember(place, user_id) => {
            state.is_named(place, user_id).then(|| MemberRemoved { place, user_id }.into())
        }
    };
    Ok(event)
}

/// Decides like [`decide`], but refuses commands that would raise the number of entries ([`State::len`]) above
/// `max_entries`.
///
/// # Errors
/// The [`Refusal`] for the caller.
pub fn decide_within(state: &State, command: Command, max_entries: usize) -> Result<Option<DirectoryEvent>, Refusal> {
    let event = decide(state, command)?;
    let is_new = match &event {
        Some(DirectoryEvent::UserRegistered(user)) => !state.is_user(user.user_id),
        Some(DirectoryEvent::ChatroomOpened(opened)) => !state.was_place(Place::Chatroom(opened.chatroom_id)),
        Some(DirectoryEvent::ThreadOpened(opened)) => !state.was_place(Place::Thread(opened.thread_id)),
        Some(DirectoryEvent::MemberAdded(_)) => true,
        Some(
            DirectoryEvent::CompanyRegistered(_)
            | DirectoryEvent::CompanySettingsChanged(_)
            | DirectoryEvent::CompanyLimitsSet(_)
            | DirectoryEvent::CompanyClosed(_)
            | DirectoryEvent::TokensInvalidated(_)
            | DirectoryEvent::UserRemoved(_)
            | DirectoryEvent::ChatroomDeleted(_)
            | DirectoryEvent::ThreadDeleted(_)
            | DirectoryEvent::MemberRemoved(_),
        )
        | None => false,
    };
    if is_new && state.len() >= max_entries {
        return Err(Refusal::DirectoryFull { max_entries });
    }
    Ok(event)
}

/// Checks whether all commands can be carried out in order. The cost depends on the entries that the commands touch,
/// not on the size of the directory.
///
/// # Errors
/// The first [`Refusal`] and the index of its command.
pub fn check_all(state: &State, commands: &[Command], max_entries: usize) -> Result<(), (usize, Refusal)> {
    let mut excerpt = state.excerpt(commands);
    for (index, command) in commands.iter().enumerate() {
        let event = decide_within(&excerpt, command.clone(), max_entries).map_err(|refusal| (index, refusal))?;
        event.iter().for_each(|event| evolve(&mut excerpt, event));
    }
    Ok(())
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
