//! Identifiers. All are UUIDs and are stored as 16 bytes. Each kind has its own type, so that a company id cannot be
//! passed as a user id.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id! {
    /// Id of a company, which is a tenant. A company never sees data of another company.
    CompanyId
}
id! {
    /// Id of a user (a person or a program) of a company. The `sub` claim of a JWT.
    UserId
}
id! {
    /// Id of an upload: one attempt to transfer one file. It is a UUIDv7, so that ids sort by the time of the start.
    UploadId
}
id! {
    /// Id of a session, which is a group of uploads.
    SessionId
}
id! {
    /// Id of a chatroom of the host product.
    ChatroomId
}
id! {
    /// Id of a thread of the host product.
    ThreadId
}
id! {
    /// Id of an association of a file with a chatroom or thread. An association that an upload creates has the id of
    /// the file.
    ShareId
}
id! {
    /// Id of a download token. The id is not secret, unlike the token itself.
    TokenId
}
id! {
    /// Id of an upload link. The id is not secret, unlike the link itself.
    LinkId
}
id! {
    /// Id of one run of a worker process. A restarted worker has a new id.
    WorkerId
}

/// Id of a file, which is the id of its upload.
pub type FileId = UploadId;
