//! The envelope: what is known of an event without reading its body. It travels in NATS headers, so that readers can
//! route and audit an event without decoding it.

use crate::events::EventError;
use crate::{ChatroomId, Event, SessionId, Subject, SubjectError, ThreadId, Timestamp, UserId, WorkerId};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use uuid::Uuid;

/// Header names.
pub mod header {
    /// The event's type.
    pub const TYPE: &str = "Waybill-Type";
    /// The version of its body.
    pub const VERSION: &str = "Waybill-Version";
    /// How the body is encoded.
    pub const SCHEMA: &str = "Waybill-Schema";
    /// When it happened, in milliseconds since 1970.
    pub const TIME: &str = "Waybill-Time";
    /// Who did it.
    pub const ACTOR: &str = "Waybill-Actor";
    /// What led to it.
    pub const CAUSATION: &str = "Waybill-Causation";
    /// From which address a client did it.
    pub const ADDRESS: &str = "Waybill-Address";
    /// Which key the body is encrypted with; reserved.
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

/// Where an event stands: partition and stream sequence. Written `{p}:{seq}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The sequence in the partition's stream, from 1.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.seq)
    }
}

/// The text is no position: not `{partition}:{sequence}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is written partition:sequence")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, seq) = text.split_once(':').ok_or(PositionError)?;
        let number = |text: &str| text.parse().map_err(|_| PositionError);
        Ok(Self { partition: partition.parse().map_err(|_| PositionError)?, seq: number(seq)? })
    }
}

/// Who caused an event. Written `user:{id}`, `worker:{instance}` or `service:{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A person or program with a JWT.
    User(UserId),
    /// A worker, reacting to an event.
    Worker(WorkerId),
    /// A part of Waybill by itself.
    Service(String),
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

/// What led to an event. Written `request:{id}` or `event:{p}:{seq}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Causation {
    /// A client's request; its id is in the answer and in the logs.
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

/// Whom an event concerns, beyond its subject.
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

/// Everything about an event but its body, its place and its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// When it happened, by the clock of who appended it.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What led to it.
    pub causation: Causation,
    /// From which address, where a client did it.
    pub address: Option<IpAddr>,
    /// Whom it concerns.
    pub routing: Routing,
}

/// An event as read from the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Where it stands.
    pub position: Position,
    /// What it is about.
    pub subject: Subject,
    /// Its envelope.
    pub envelope: Envelope,
    /// What happened.
    pub event: Event,
}

/// A stored message that is no event of ours. Readers park it: it is never skipped in silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The subject is none of ours.
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
    /// The envelope and the event's type as headers.
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
    /// Reads a stored message; `header` looks a header up by name.
    ///
    /// # Errors
    /// [`DecodeError`] where the message is no event that this build can read.
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
