//! Access types, grants and permissions of a share.

use crate::{ChatroomId, ShareId, ThreadId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Action that a share allows. Every grant also allows seeing that the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// See the name, type, size and state of the file.
    View,
    /// Read the bytes of the file and issue download tokens.
    Download,
    /// Share the file with other chatrooms and threads.
    Share,
    /// Change, pin and revoke this share.
    Manage,
}

/// Permissions of a share that differ from the default, which is view and download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Grants of every user that the share is for. `None` means view and download.
    pub everyone: Option<Vec<Grant>>,
    /// Grants of single users. They replace `everyone` for these users.
    pub users: BTreeMap<UserId, Vec<Grant>>,
}

/// Right by which a user shared a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareBasis {
    /// An earlier version of Waybill did not record the right.
    Unrecorded,
    /// The user uploaded the file.
    Uploader,
    /// The user was an admin of the company.
    Admin,
    /// This share of the same file let the user share it. The new share ends with it.
    Share(ShareId),
}

impl ShareBasis {
    /// Returns the share that the new share rests on. `None` if the user needed no share, or if it is not recorded.
    pub fn parent(self) -> Option<ShareId> {
        match self {
            Self::Share(parent) => Some(parent),
            Self::Unrecorded | Self::Uploader | Self::Admin => None,
        }
    }
}

/// Chatroom or thread: a place in which files appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A chatroom.
    Chatroom(ChatroomId),
    /// A thread. It may belong to a chatroom.
    Thread(ThreadId),
}
