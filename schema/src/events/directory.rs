//! Events of the directory: `directory`. The host product says who and what there is; Waybill keeps ids, and no names.

use crate::access::Place;
use crate::{ChatroomId, CompanyId, ThreadId, UserId};
use serde::{Deserialize, Serialize};

/// A company is known from now on; one that was closed is open again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRegisteredV1 {
    /// Which.
    pub company_id: CompanyId,
}

/// What a company says in place of the defaults. Sizes in bytes, inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettings {
    /// The largest file.
    pub max_file_bytes: Option<u64>,
    /// The most that one session may bring.
    pub max_session_bytes: Option<u64>,
    /// The types that are accepted: whole ones, or beginnings with `*` behind them.
    pub allowed_mime_types: Option<Vec<String>>,
    /// After how many days a file is deleted by itself.
    pub retention_days: Option<u32>,
}

/// The company's settings are these from now on, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV1 {
    /// The settings.
    pub settings: CompanySettings,
}

/// Nobody of the company may do anything any more. Its files stay until they are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyClosedV1 {}

/// A user of the company is known from now on; one who was removed is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegisteredV1 {
    /// Which.
    pub user_id: UserId,
}

/// The user may do nothing any more, and is a member of nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRemovedV1 {
    /// Which.
    pub user_id: UserId,
}

/// A chatroom is known from now on; one that was deleted is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatroomOpenedV1 {
    /// Which.
    pub chatroom_id: ChatroomId,
}

/// What was shared in the chatroom is shared there no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatroomDeletedV1 {
    /// Which.
    pub chatroom_id: ChatroomId,
}

/// A thread is known from now on; one that was deleted is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadOpenedV1 {
    /// Which.
    pub thread_id: ThreadId,
    /// The chatroom that it is in: its members are members of the thread. It never changes.
    pub chatroom_id: Option<ChatroomId>,
}

/// What was shared in the thread is shared there no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadDeletedV1 {
    /// Which.
    pub thread_id: ThreadId,
}

/// A user is a member of a chatroom or thread from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddedV1 {
    /// Of what.
    pub place: Place,
    /// Who.
    pub user_id: UserId,
}

/// A user is a member no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemovedV1 {
    /// Of what.
    pub place: Place,
    /// Who.
    pub user_id: UserId,
}
