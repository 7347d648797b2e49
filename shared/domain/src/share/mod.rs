//! An association of a file with a chatroom or thread: its users, permissions and end.

mod aggregate;

pub use aggregate::ShareAggregate;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use waybill_schema::events::{FileShared, ShareChanged, ShareEvent, SharePinned, ShareRevoked, UploadDescription};
use waybill_schema::{AccessType, FileId, Permissions, Timestamp};

/// Maximum number of users that one share can name.
pub const NAMED_MAX: usize = 200;

/// Latest possible end of a share: 9999-12-31T23:59:59.999Z.
const EXPIRES_MAX: Timestamp = Timestamp(253_402_300_799_999);

/// Share, folded from its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The current values of the share. `None` if the share does not exist.
    pub shared: Option<FileShared>,
    /// `true` if the share is pinned to the top of the list.
    pub is_pinned: bool,
    /// `true` if the share was revoked.
    pub revoked: bool,
}

impl State {
    /// Returns the share that an upload into a chatroom or thread creates.
    pub fn of_upload(file_id: FileId, started: &UploadDescription) -> Self {
        let is_somewhere = started.chatroom_id.is_some() || started.thread_id.is_some();
        let shared = is_somewhere.then_some(FileShared {
            file_id,
            chatroom_id: started.chatroom_id,
            thread_id: started.thread_id,
            shared_by: started.uploaded_by,
            access_type: AccessType::Private,
            permissions: None,
            expires_at: None,
        });
        Self { shared, ..Self::default() }
    }
}

/// Command to a share. The commands that set an end contain the current time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Share a file.
    Share(FileShared, Timestamp),
    /// Change the users, permissions and end.
    Change(ShareChanged, Timestamp),
    /// Pin the share (`true`) or unpin it (`false`).
    Pin(bool),
    /// Revoke the share.
    Revoke,
}

/// Applies one event to the state.
pub fn evolve(state: &mut State, event: &ShareEvent) {
    match event {
        ShareEvent::FileShared(shared) => {
            *state = State { shared: Some(shared.clone()), ..State::default() };
        }
        ShareEvent::ShareChanged(changed) => {
            let Some(shared) = &mut state.shared else { return };
            shared.access_type = changed.access_type;
            shared.permissions.clone_from(&changed.permissions);
            shared.expires_at = changed.expires_at;
        }
        ShareEvent::SharePinned(pinned) => state.is_pinned = pinned.is_pinned,
        ShareEvent::ShareRevoked(_) => state.revoked = true,
    }
}

/// Decides on a command. Returns no event if the share already has the requested state.
///
/// # Errors
/// The [`Refusal`] for the client.
pub fn decide(state: &State, command: Command) -> Result<Option<ShareEvent>, Refusal> {
    let Some(known) = &state.shared else {
        let Command::Share(shared, now) = command else { return Err(Refusal::NotFound { what: "association" }) };
        if shared.chatroom_id.is_none() && shared.thread_id.is_none() {
            return Err(Refusal::ShareInvalid { reason: "it needs chatroom_id or thread_id" });
        }
        check(shared.access_type, shared.permissions.as_ref(), shared.expires_at, now)?;
        return Ok(Some(shared.into()));
    };
    match command {
        Command::Share(shared, _) if shared == *known => Ok(None),
        Command::Share(..) => Err(Refusal::IdTaken { what: "association" }),
        Command::Revoke => Ok((!state.revoked).then(|| ShareRevoked {}.into())),
        _ if state.revoked => Err(Refusal::NotFound { what: "association" }),
        Command::Change(changed, now) => {
            let is_so = changed.access_type == known.access_type
                && changed.permissions == known.permissions
                && changed.expires_at == known.expires_at;
            if is_so {
                return Ok(None);
            }
            check(changed.access_type, changed.permissions.as_ref(), changed.expires_at, now)?;
            Ok(Some(changed.into()))
        }
        Command::Pin(is_pinned) => Ok((is_pinned != state.is_pinned).then(|| SharePinned { is_pinned }.into())),
    }
}

fn check(
    access_type: AccessType,
    permissions: Option<&Permissions>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let named = permissions.map_or(0, |permissions| permissions.users.len());
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::ShareInvalid { reason: "expires_at must be in the future" });
    }
    if expires_at.is_some_and(|at| at > EXPIRES_MAX) {
        return Err(Refusal::ShareInvalid { reason: "expires_at must not be after the year 9999" });
    }
    if named > NAMED_MAX {
        return Err(Refusal::ShareInvalid { reason: "permissions.users can name at most 200 users" });
    }
    if access_type == AccessType::Restricted && named == 0 {
        return Err(Refusal::ShareInvalid { reason: "RESTRICTED needs at least one user in permissions.users" });
    }
    Ok(())
}
