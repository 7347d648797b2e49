//! Events of an association of a file with a chatroom or thread: `share.{id}`.
//!
//! A file that was uploaded into a chatroom or thread is shared there from the start, by its upload's own event; that
//! share has the file's id.

use crate::access::{AccessType, Permissions};
use crate::{ChatroomId, FileId, ThreadId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A file is shared with a chatroom, a thread, or a thread and the chatroom around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSharedV1 {
    /// Which file.
    pub file_id: FileId,
    /// With which chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// With which thread.
    pub thread_id: Option<ThreadId>,
    /// Who shared it.
    pub shared_by: UserId,
    /// For whom.
    pub access_type: AccessType,
    /// What they may do, where it is not the usual.
    pub permissions: Option<Permissions>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// The share is for these people, with these permissions and until then, from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareChangedV1 {
    /// For whom.
    pub access_type: AccessType,
    /// What they may do, where it is not the usual.
    pub permissions: Option<Permissions>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// The share stands at the top of its place's files, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePinnedV1 {
    /// Which of the two.
    pub is_pinned: bool,
}

/// The file is not shared there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareRevokedV1 {}
