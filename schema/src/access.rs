//! Who may do what with a shared file, as a share says it.

use crate::{ChatroomId, ThreadId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whom a share is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AccessType {
    /// Everybody of the company.
    Public,
    /// The members of the chatroom or thread.
    #[default]
    Private,
    /// Those members that [`Permissions::users`] names.
    Restricted,
}

impl AccessType {
    /// As the data model writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "PUBLIC",
            Self::Private => "PRIVATE",
            Self::Restricted => "RESTRICTED",
        }
    }
}

/// One thing that a share lets people do. Each includes seeing that the file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// See its name, type, size and state.
    View,
    /// Read its bytes, and hand out download tokens.
    Download,
    /// Share it with other chatrooms and threads.
    Share,
    /// Change, pin and revoke this share.
    Manage,
}

/// What a share lets people do, where it is not what shares do by themselves: view and download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Everybody whom the share is for; view and download where it is left out.
    pub everyone: Option<Vec<Grant>>,
    /// Single people, in place of what everybody has.
    pub users: BTreeMap<UserId, Vec<Grant>>,
}

/// Where people come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A chatroom.
    Chatroom(ChatroomId),
    /// A thread; with or without a chatroom around it.
    Thread(ThreadId),
}
