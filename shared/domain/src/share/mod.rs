//! An association of a file with a chatroom or thread: its users, permissions and end.

mod aggregate;

pub use aggregate::ShareAggregate;

use crate::Refusal;
use serde::{Deserialize, Serialize};
use waybill_schema::events::{FileShared, ShareChanged, ShareEvent, SharePinned, ShareRevoked, UploadDescription};
use waybill_schema::{AccessType, FileId, Permissions, ShareBasis, Timestamp};

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
    /// Time of the last event. It is 0 without events.
    pub at: Timestamp,
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
            basis: ShareBasis::Uploader,
        });
        Self { shared, ..Self::default() }
    }
}

/// Relation of the uploader of a file to the chatroom or thread of the upload, at the time of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliverer {
    /// `true` if the user was removed or the company was closed.
    pub has_ended: bool,
    /// `true` if the user is a member.
    pub is_member: bool,
    /// `true` if the user was a member at any time since the upload started.
    pub was_member: bool,
}

impl Deliverer {
    /// Returns `true` if the file may appear in the chatroom or thread. Admins can upload without being members, so
    /// that only the end of a membership prevents it.
    pub fn may_deliver(self) -> bool {
        !self.has_ended && (self.is_member || !self.was_member)
    }
}

/// Command to a share. The commands that set an end contain the current time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Share a file with a place, or change the share that the file already has there.
    Share(Box<Sharing>),
    /// Change the users, permissions and end.
    Change(ShareChanged, Timestamp),
    /// Pin the share (`true`) or unpin it (`false`).
    Pin(bool),
    /// Revoke the share.
    Revoke,
}

/// Values of [`Command::Share`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The share. A file has one share in each place. The share begins again if it was revoked or has expired.
    pub shared: FileShared,
    /// The current time.
    pub now: Timestamp,
    /// `true` if the user may give the share these values.
    pub may_change: bool,
    /// [`State::at`] of a share that ended together with its place or with the share that it rests on, or that is to rest
    /// on no other one any more, so that it begins again. `None` otherwise.
    pub ended_at: Option<Timestamp>,
    /// Time of the first request if this one repeats it. The command then has no effect on a newer share.
    pub first_sent_at: Option<Timestamp>,
}

impl Sharing {
    /// Decides on the share that the file already has in this place.
    fn decide(self, state: &State, known: &FileShared) -> Result<Option<ShareEvent>, Refusal> {
        let Self { shared, now, may_change, ended_at, first_sent_at } = self;
        if (shared.file_id, shared.chatroom_id, shared.thread_id) != (known.file_id, known.chatroom_id, known.thread_id)
        {
            return Err(Refusal::IdTaken { what: "association" });
        }
        if first_sent_at.is_some_and(|sent_at| sent_at <= state.at) {
            return Ok(None);
        }
        let has_expired = known.expires_at.is_some_and(|at| at <= now);
        if state.revoked || has_expired || ended_at == Some(state.at) {
            check(shared.access_type, shared.permissions.as_ref(), shared.expires_at, now)?;
            return Ok(Some(shared.into()));
        }
        let FileShared { access_type, permissions, expires_at, .. } = shared;
        let changed = ShareChanged { access_type, permissions, expires_at };
        match decide(state, Command::Change(changed, now))? {
            Some(_) if !may_change => Err(Refusal::ShareExists),
            decision => Ok(decision),
        }
    }
}

/// Applies one event to the state.
pub fn evolve(state: &mut State, event: &ShareEvent, time: Timestamp) {
    state.at = time;
    match event {
        ShareEvent::FileShared(shared) => {
            *state = State { shared: Some(shared.clone()), at: time, ..State::default() };
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
        let Command::Share(sharing) = command else { return Err(Refusal::NotFound { what: "association" }) };
        let Sharing { shared, now, .. } = *sharing;
        if shared.chatroom_id.is_none() && shared.thread_id.is_none() {
            return Err(Refusal::ShareInvalid { reason: "it needs chatroom_id or thread_id" });
        }
        check(shared.access_type, shared.permissions.as_ref(), shared.expires_at, now)?;
        return Ok(Some(shared.into()));
    };
    match command {
        Command::Share(sharing) => sharing.decide(state, known),
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
