//! Identifiers. All are UUIDs and stored as their 16 bytes; each kind is a type of its own, so that a company's id
//! cannot be passed where a user's is meant.

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
    /// A tenant. Nothing of one company is ever visible to another.
    CompanyId
}
id! {
    /// A person (or program) of a company; the `sub` of a JWT.
    UserId
}
id! {
    /// One attempt to bring one file in. UUIDv7, so ids sort by the time of the start.
    UploadId
}
id! {
    /// Several uploads that belong together.
    SessionId
}
id! {
    /// A chatroom of the host product.
    ChatroomId
}
id! {
    /// A thread of the host product.
    ThreadId
}
id! {
    /// An association of a file with a chatroom or thread. One that came with an upload has the file's id.
    ShareId
}
id! {
    /// A download token's number; the token itself is a secret.
    TokenId
}
id! {
    /// One run of one worker process: a restarted worker is a new instance.
    WorkerId
}

/// A file has the id of the upload that brought it.
pub type FileId = UploadId;
