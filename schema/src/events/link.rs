//! Events of an upload link, with which people without an account send files to a user. Subject: `link.{id}`.

use crate::{ChatroomId, Sha256Digest, ThreadId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A user made an upload link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLinkMadeV1 {
    /// The user to whom the files belong.
    pub owner: UserId,
    /// SHA-256 of the text of the link.
    pub token_sha256: Sha256Digest,
    /// Time until which uploads can start.
    pub expires_at: Timestamp,
    /// Maximum number of files.
    pub max_files: u32,
    /// Maximum number of bytes of all files together.
    pub max_bytes: u64,
    /// Maximum size of one file in bytes.
    pub max_file_bytes: Option<u64>,
    /// Media types of the files, or beginnings of types that end with `*`. Empty for all types that the company accepts.
    pub mime_types: Vec<String>,
    /// The chatroom in which the files appear.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread in which the files appear.
    pub thread_id: Option<ThreadId>,
    /// Text for the people who send files.
    pub label: Option<String>,
    /// `true` if they must give a name.
    pub ask_name: bool,
}

/// The link was revoked. Uploads that have started can continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLinkRevokedV1 {}

aggregate_events! {
    /// Events of an upload link.
    LinkEvent of Link {
        UploadLinkMade, 1 => UploadLinkMadeV1;
        UploadLinkRevoked, 1 => UploadLinkRevokedV1;
    }
}
