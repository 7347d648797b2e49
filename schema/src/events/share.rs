//! Events of an association of a file with a chatroom or thread. Subject: `share.{id}`.
//!
//! A file that is uploaded into a chatroom or thread is shared there from the start. No event of this module is needed
//! for that: the event of the upload is enough. The id of that share is the id of the file.

use crate::access::{Permissions, ShareBasis};
use crate::status::AccessType;
use crate::{ChatroomId, FileId, ThreadId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A file was shared with a chatroom, a thread, or a thread and its chatroom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSharedV1 {
    /// The file.
    pub file_id: FileId,
    /// The chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread.
    pub thread_id: Option<ThreadId>,
    /// The user that shared the file.
    pub shared_by: UserId,
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
}

/// A file was shared with a chatroom, a thread, or a thread and its chatroom, by a recorded right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSharedV2 {
    /// The file.
    pub file_id: FileId,
    /// The chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread.
    pub thread_id: Option<ThreadId>,
    /// The user that shared the file.
    pub shared_by: UserId,
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
    /// The right by which the user shared the file.
    pub basis: ShareBasis,
}

impl From<FileSharedV1> for FileSharedV2 {
    fn from(shared: FileSharedV1) -> Self {
        Self {
            file_id: shared.file_id,
            chatroom_id: shared.chatroom_id,
            thread_id: shared.thread_id,
            shared_by: shared.shared_by,
            access_type: shared.access_type,
            permissions: shared.permissions,
            expires_at: shared.expires_at,
            basis: ShareBasis::Unrecorded,
        }
    }
}

/// The share changed. The new values replace all previous ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareChangedV1 {
    /// Users that the share is for.
    pub access_type: AccessType,
    /// Permissions, if they differ from the default.
    pub permissions: Option<Permissions>,
    /// End of the share. `None` if it has no end.
    pub expires_at: Option<Timestamp>,
}

/// The share was pinned to the top of the list of files of its place, or unpinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePinnedV1 {
    /// `true` if the share is now pinned.
    pub is_pinned: bool,
}

/// The share was revoked. The file is no longer shared there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRevokedV1 {}

aggregate_events! {
    /// Events of an association of a file with a chatroom or thread.
    ShareEvent of Share {
        FileShared, 2 => FileSharedV2, before: 1 => FileSharedV1;
        ShareChanged, 1 => ShareChangedV1;
        SharePinned, 1 => SharePinnedV1;
        ShareRevoked, 1 => ShareRevokedV1;
    }
}
