//! The envelope of an event: time, actor, cause and routing. It is stored in NATS headers, so that readers can route
//! and audit an event without decoding its body.

use crate::events::EventError;
use crate::{ChatroomId, Event, LinkId, SessionId, Subject, SubjectError, ThreadId, Timestamp, UserId, WorkerId};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use uuid::Uuid;

/// Header names.
pub mod header {
    /// Type of the event.
    pub const TYPE: &str = "Waybill-Type";
    /// Version of the body.
    pub const VERSION: &str = "Waybill-Version";
    /// Encoding of the body.
    pub const SCHEMA: &str = "Waybill-Schema";
    /// Time of the event, in milliseconds since 1970-01-01T00:00:00Z.
    pub const TIME: &str = "Waybill-Time";
    /// Actor that caused the event.
    pub const ACTOR: &str = "Waybill-Actor";
    /// Request or event that led to this event.
    pub const CAUSATION: &str = "Waybill-Causation";
    /// Address of the client.
    pub const ADDRESS: &str = "Waybill-Address";
    /// Key that the body is encrypted with. Reserved.
    pub const KEY_ID: &str = "Waybill-Key-Id";
    /// Routing: the session.
    pub const SESSION: &str = "Waybill-Session";
    /// Routing: the chatroom.
    pub const CHATROOM: &str = "Waybill-Chatroom";
    /// Routing: the thread.
    pub const THREAD: &str = "Waybill-Thread";
    /// Routing: the uploader.
    pub const UPLOADER: &str = "Waybill-Uploader";
}

/// The value of [`header::SCHEMA`].
pub const POSTCARD_1: &str = "postcard/1";

/// Place of an event in the log: partition and stream sequence. Written `{p}:{seq}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The sequence in the stream of the partition. The first is 1.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.seq)
    }
}

/// Error for a text that does not have the form `{partition}:{sequence}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position must have the form partition:sequence")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, seq) = text.split_once(':').ok_or(PositionError)?;
        let number = |text: &str| text.parse().map_err(|_| PositionError);
        Ok(Self { partition: partition.parse().map_err(|_| PositionError)?, seq: number(seq)? })
    }
}

/// Actor that caused an event. Written `user:{id}`, `worker:{instance}` or `service:{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person or program with a JWT.
    User(UserId),
    /// A worker that reacts to an event.
    Worker(WorkerId),
    /// A part of Waybill that acts without a request, for example the sweep.
    Service(String),
}

impl Actor {
    /// Returns the actor for what a user does, or what somebody does with an upload link of the user.
    pub fn of_sender(user: UserId, link: Option<LinkId>) -> Self {
        link.map_or(Self::User(user), |link| Self::Service(format!("link:{link}")))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Worker(id) => write!(f, "worker:{id}"),
            Self::Service(name) => write!(f, "service:{name}"),
        }
    }
}

/// Cause of an event. Written `request:{id}` or `event:{p}:{seq}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Causation {
    /// The request of a client. Its id is also in the response and in the logs.
    Request(Uuid),
    /// An earlier event.
    Event(Position),
}

impl fmt::Display for Causation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(id) => write!(f, "request:{}", id.hyphenated()),
            Self::Event(position) => write!(f, "event:{position}"),
        }
    }
}

/// Ids of the objects and the user that an event concerns, in addition to its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The upload session.
    pub session_id: Option<SessionId>,
    /// The chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread.
    pub thread_id: Option<ThreadId>,
    /// The uploader of the file.
    pub uploaded_by: Option<UserId>,
}

/// Metadata of an event, without its position and its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Time of the event, by the clock of the process that appended it.
    pub time: Timestamp,
    /// Actor that caused the event.
    pub actor: Actor,
    /// Request or event that led to this event.
    pub causation: Causation,
    /// Address of the client, if a client caused the event.
    pub address: Option<IpAddr>,
    /// Objects and user that the event concerns.
    pub routing: Routing,
}

/// Event that was read from the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Position in the log.
    pub position: Position,
    /// Subject of the aggregate.
    pub subject: Subject,
    /// Envelope from the headers.
    pub envelope: Envelope,
    /// Decoded body.
    pub event: Event,
}

/// Reason why a stored message is not an event that this build can read. Readers park such a message and never skip it
/// silently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The subject is not a subject of Waybill.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// A header is missing or unreadable.
    #[error("missing or unreadable header {0}")]
    Header(&'static str),
    /// The body cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl Envelope {
    /// Returns the headers for `event`: its type and version, and the envelope.
    pub fn to_headers(&self, event: &Event) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::TYPE, event.event_type().to_owned()),
            (header::VERSION, event.version().to_string()),
            (header::SCHEMA, POSTCARD_1.to_owned()),
            (header::TIME, self.time.0.to_string()),
            (header::ACTOR, self.actor.to_string()),
            (header::CAUSATION, self.causation.to_string()),
        ];
        let routing = &self.routing;
        headers.extend(self.address.map(|address| (header::ADDRESS, address.to_string())));
        headers.extend(routing.session_id.map(|id| (header::SESSION, id.to_string())));
        headers.extend(routing.chatroom_id.map(|id| (header::CHATROOM, id.to_string())));
        headers.extend(routing.thread_id.map(|id| (header::THREAD, id.to_string())));
        headers.extend(routing.uploaded_by.map(|id| (header::UPLOADER, id.to_string())));
        headers
    }
}

impl Recorded {
    /// Decodes a stored message. `header` returns the value of the header with the given name.
    ///
    /// # Errors
    /// [`DecodeError`] if the message is not an event that this build can read.
    pub fn decode<'a>(
        position: Position,
        subject: &str,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: &[u8],
    ) -> Result<Self, DecodeError> {
        let required = |name| header(name).ok_or(DecodeError::Header(name));
        if required(header::SCHEMA)? != POSTCARD_1 {
            return Err(DecodeError::Header(header::SCHEMA));
        }
        let version = required(header::VERSION)?.parse().map_err(|_| DecodeError::Header(header::VERSION))?;
        let time = required(header::TIME)?.parse().map_err(|_| DecodeError::Header(header::TIME))?;
        Ok(Self {
            position,
            subject: Subject::parse(subject)?,
            envelope: Envelope {
                time: Timestamp(time),
                actor: parse_actor(required(header::ACTOR)?).ok_or(DecodeError::Header(header::ACTOR))?,
                causation: parse_causation(required(header::CAUSATION)?)
                    .ok_or(DecodeError::Header(header::CAUSATION))?,
                address: header(header::ADDRESS).and_then(|address| address.parse().ok()),
                routing: Routing {
                    session_id: header(header::SESSION).and_then(|id| id.parse().ok()),
                    chatroom_id: header(header::CHATROOM).and_then(|id| id.parse().ok()),
                    thread_id: header(header::THREAD).and_then(|id| id.parse().ok()),
                    uploaded_by: header(header::UPLOADER).and_then(|id| id.parse().ok()),
                },
            },
            event: Event::decode(required(header::TYPE)?, version, body)?,
        })
    }
}

fn parse_actor(text: &str) -> Option<Actor> {
    let (kind, name) = text.split_once(':')?;
    match kind {
        "user" => name.parse().ok().map(Actor::User),
        "worker" => name.parse().ok().map(Actor::Worker),
        "service" => Some(Actor::Service(name.to_owned())),
        _ => None,
    }
}

fn parse_causation(text: &str) -> Option<Causation> {
    let (kind, what) = text.split_once(':')?;
    match kind {
        "request" => Uuid::try_parse(what).ok().map(Causation::Request),
        "event" => what.parse().ok().map(Causation::Event),
        _ => None,
    }
}
