//! Topics to which clients subscribe.

use std::fmt;
use std::str::FromStr;
use waybill_schema::{ChatroomId, CompanyId, SessionId, ThreadId, UploadId};

/// Topic to which a client can subscribe. Its text is the kind, a colon and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// An upload and its file.
    Upload(UploadId),
    /// A session and its uploads.
    Session(SessionId),
    /// All uploads of a company.
    Company(CompanyId),
    /// The files in a chatroom.
    Chatroom(ChatroomId),
    /// The files in a thread.
    Thread(ThreadId),
}

/// The text is not a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTopic;

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not a topic, such as upload:ID")
    }
}

impl std::error::Error for InvalidTopic {}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(id) => write!(f, "upload:{id}"),
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Company(id) => write!(f, "company:{id}"),
            Self::Chatroom(id) => write!(f, "chatroom:{id}"),
            Self::Thread(id) => write!(f, "thread:{id}"),
        }
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        fn id<T: FromStr>(text: &str) -> Result<T, InvalidTopic> {
            text.parse().map_err(|_| InvalidTopic)
        }
        let (kind, rest) = text.split_once(':').ok_or(InvalidTopic)?;
        match kind {
            "upload" => id(rest).map(Self::Upload),
            "session" => id(rest).map(Self::Session),
            "company" => id(rest).map(Self::Company),
            "chatroom" => id(rest).map(Self::Chatroom),
            "thread" => id(rest).map(Self::Thread),
            _ => Err(InvalidTopic),
        }
    }
}
