//! The aggregates: their subjects, and the rules that fold their events and decide their commands.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use waybill_domain::{Refusal, content, file, session, share, token, upload};
use waybill_schema::events::{
    AggregateEvent, ContentEvent, FileEvent, SessionEvent, ShareEvent, TokenEvent, UploadEvent, UploadStartedV1,
};
use waybill_schema::{
    Aggregate as On, CompanyId, Event, FileId, Routing, SessionId, Sha256Digest, ShareId, Subject, Timestamp, TokenId,
    UploadId,
};

/// Aggregate that [`crate::load`] and [`crate::execute`] can work on.
pub trait Aggregate: Send + Sync {
    /// State of the aggregate.
    type State: Default + Clone + Send + Sync + Serialize + DeserializeOwned;
    /// Commands to the aggregate.
    type Command: Clone + Send + Sync;
    /// Events of the aggregate.
    type Event: AggregateEvent;

    /// Version of the snapshots. It must change when the type of the state changes, so that older snapshots are not
    /// read. `None` if the rules keep the number of events small.
    const SNAPSHOT_VERSION: Option<u16> = None;

    /// Returns the subject to which decisions are appended.
    fn subject(&self) -> Subject;

    /// Returns the subject of the facts, if there is one. Facts are folded too, but are not decided one at a time.
    fn facts(&self) -> Option<Subject> {
        None
    }

    /// Returns `true` if the aggregate has ended, so that a snapshot is not worth its cost.
    fn is_over(_: &Self::State) -> bool {
        false
    }

    /// Applies one event to the state.
    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp);

    /// Applies one recorded event to the state. The subject of an aggregate never contains events of another kind of
    /// aggregate.
    fn fold(state: &mut Self::State, event: &Event, time: Timestamp) {
        if let Some(event) = Self::Event::of(event) {
            Self::evolve(state, event, time);
        }
    }

    /// Decides on a command.
    ///
    /// # Errors
    /// The refusal for the client.
    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal>;

    /// Returns the routing for the envelope of an event.
    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing;
}

/// Upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadAggregate {
    /// Company of the upload.
    pub company: CompanyId,
    /// Id of the upload.
    pub upload: UploadId,
}

impl Aggregate for UploadAggregate {
    type State = upload::State;
    type Command = upload::Command;
    type Event = UploadEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(1);

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::UploadLifecycle(self.upload))
    }

    fn facts(&self) -> Option<Subject> {
        Some(Subject::new(self.company, On::UploadChunks(self.upload)))
    }

    fn is_over(state: &Self::State) -> bool {
        state.has_ended()
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        upload::evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        upload::decide(state, command)
    }

    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing {
        let started = match event {
            UploadEvent::UploadStarted(upload) => Some(&upload.started),
            UploadEvent::FileUploaded(uploaded) => Some(&uploaded.started),
            UploadEvent::UploadLengthSet(_)
            | UploadEvent::UploadConcatenated(_)
            | UploadEvent::QuarantineSigned(_)
            | UploadEvent::QuarantineCopied(_)
            | UploadEvent::QuarantineCleared(_)
            | UploadEvent::MultipartOpened(_)
            | UploadEvent::ChunkUploaded(_)
            | UploadEvent::PartAssembled(_)
            | UploadEvent::FileCompleted(_)
            | UploadEvent::FileVerified(_)
            | UploadEvent::FileRejected(_)
            | UploadEvent::UploadCancelled(_)
            | UploadEvent::UploadExpired(_) => state.started.as_ref(),
        };
        started.map_or_else(Routing::default, routing_of)
    }
}

/// Lifecycle of an upload, without the events of its chunks. The stored bytes are therefore unknown until the upload is
/// verified. Loading needs one read of the log, for files of any size.
#[derive(Clone, Copy, Debug)]
pub struct LifecycleAggregate(pub UploadAggregate);

impl Aggregate for LifecycleAggregate {
    type State = upload::State;
    type Command = Infallible;
    type Event = UploadEvent;

    fn subject(&self) -> Subject {
        self.0.subject()
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        upload::evolve(state, event, time);
    }

    fn decide(_: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        match command {}
    }

    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing {
        self.0.routing(state, event)
    }
}

/// Returns the routing for the events of an upload and its file.
pub fn routing_of(started: &UploadStartedV1) -> Routing {
    Routing {
        session_id: started.session_id,
        chatroom_id: started.chatroom_id,
        thread_id: started.thread_id,
        uploaded_by: Some(started.uploaded_by),
    }
}

/// Upload session.
#[derive(Clone, Copy, Debug)]
pub struct SessionAggregate {
    /// Company of the session.
    pub company: CompanyId,
    /// Id of the session.
    pub session: SessionId,
}

impl Aggregate for SessionAggregate {
    type State = session::State;
    type Command = session::Command;
    type Event = SessionEvent;

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Session(self.session))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        session::evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        session::decide(state, command)
    }

    fn routing(&self, _: &Self::State, _: &Self::Event) -> Routing {
        Routing::default()
    }
}

/// Verified file.
#[derive(Clone, Copy, Debug)]
pub struct FileAggregate {
    /// Company of the file.
    pub company: CompanyId,
    /// Id of the file.
    pub file: FileId,
    /// Routing from the upload of the file. Only callers that append events need it.
    pub routing: Routing,
}

impl Aggregate for FileAggregate {
    type State = file::State;
    type Command = file::Command;
    type Event = FileEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(1);

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::File(self.file))
    }

    fn is_over(state: &Self::State) -> bool {
        state.purged
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        file::evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        file::decide(state, command)
    }

    fn routing(&self, _: &Self::State, _: &Self::Event) -> Routing {
        self.routing
    }
}

/// Association of a file with a chatroom or thread.
#[derive(Clone, Copy, Debug)]
pub struct ShareAggregate {
    /// Company of the association.
    pub company: CompanyId,
    /// Id of the association.
    pub share: ShareId,
}

impl Aggregate for ShareAggregate {
    type State = share::State;
    type Command = share::Command;
    type Event = ShareEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(1);

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Share(self.share))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, _: Timestamp) {
        share::evolve(state, event);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        share::decide(state, command)
    }

    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing {
        let shared = match event {
            ShareEvent::FileShared(shared) => Some(shared),
            ShareEvent::ShareChanged(_) | ShareEvent::SharePinned(_) | ShareEvent::ShareRevoked(_) => {
                state.shared.as_ref()
            }
        };
        shared.map_or_else(Routing::default, |shared| Routing {
            chatroom_id: shared.chatroom_id,
            thread_id: shared.thread_id,
            ..Routing::default()
        })
    }
}

/// Content: an object that several files of a company refer to.
#[derive(Clone, Copy, Debug)]
pub struct ContentAggregate {
    /// The company.
    pub company: CompanyId,
    /// SHA-256 of the bytes.
    pub sha256: Sha256Digest,
}

impl Aggregate for ContentAggregate {
    type State = content::State;
    type Command = content::Command;
    type Event = ContentEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(1);

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Content(self.sha256))
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, _: Timestamp) {
        content::evolve(state, event);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        content::decide(state, command)
    }

    fn routing(&self, _: &Self::State, _: &Self::Event) -> Routing {
        Routing::default()
    }
}

/// Download token.
#[derive(Clone, Copy, Debug)]
pub struct TokenAggregate {
    /// Company of the token.
    pub company: CompanyId,
    /// Id of the token.
    pub token: TokenId,
}

impl Aggregate for TokenAggregate {
    type State = token::State;
    type Command = token::Command;
    type Event = TokenEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(1);

    fn subject(&self) -> Subject {
        Subject::new(self.company, On::Token(self.token))
    }

    fn is_over(state: &Self::State) -> bool {
        state.forgotten
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        token::evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        token::decide(state, command)
    }

    fn routing(&self, _: &Self::State, _: &Self::Event) -> Routing {
        Routing::default()
    }
}
