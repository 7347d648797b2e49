//! The aggregates: their subjects, and the rules that they are folded and decided by.

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

/// An aggregate as [`crate::load`] and [`crate::execute`] need it.
pub trait Aggregate: Send + Sync {
    /// What is known of it.
    type State: Default + Clone + Send + Sync + Serialize + DeserializeOwned;
    /// Commands to the aggregate.
    type Command: Clone + Send + Sync;
    /// Events of the aggregate.
    type Event: AggregateEvent;

    /// Changes whenever the state does: older snapshots are then not read. `None` where the rules keep the fold short.
    const SNAPSHOT_VERSION: Option<u16> = None;

    /// The subject that decisions are appended to.
    fn subject(&self) -> Subject;

    /// The subject with facts that are folded in, but not decided one at a time.
    fn facts(&self) -> Option<Subject> {
        None
    }

    /// Whether it is over, so that no snapshot of it is worth keeping.
    fn is_over(_: &Self::State) -> bool {
        false
    }

    /// Folds one event.
    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp);

    /// Folds one recorded event. An event of another kind of aggregate never is on the subject of this one.
    fn fold(state: &mut Self::State, event: &Event, time: Timestamp) {
        if let Some(event) = Self::Event::of(event) {
            Self::evolve(state, event, time);
        }
    }

    /// Decides a command.
    ///
    /// # Errors
    /// The refusal that the client is to see.
    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal>;

    /// Whom an event concerns, for its envelope.
    fn routing(&self, state: &Self::State, event: &Self::Event) -> Routing;
}

/// An upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadAggregate {
    /// Its company.
    pub company: CompanyId,
    /// Its id.
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

/// An upload from its start to its end, without the bytes in between: which those are is only known once it is verified.
/// One look at the log, however large the file is.
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

/// Whom an upload and its file concern.
pub fn routing_of(started: &UploadStartedV1) -> Routing {
    Routing {
        session_id: started.session_id,
        chatroom_id: started.chatroom_id,
        thread_id: started.thread_id,
        uploaded_by: Some(started.uploaded_by),
    }
}

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct SessionAggregate {
    /// Its company.
    pub company: CompanyId,
    /// Its id.
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

/// A verified file.
#[derive(Clone, Copy, Debug)]
pub struct FileAggregate {
    /// Its company.
    pub company: CompanyId,
    /// Its id.
    pub file: FileId,
    /// Whom its upload concerned; only for those who append.
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

/// An association of a file with a chatroom or thread.
#[derive(Clone, Copy, Debug)]
pub struct ShareAggregate {
    /// Its company.
    pub company: CompanyId,
    /// Its id.
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

/// Bytes that files of a company have in common.
#[derive(Clone, Copy, Debug)]
pub struct ContentAggregate {
    /// The company.
    pub company: CompanyId,
    /// The bytes' digest.
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

/// A download token.
#[derive(Clone, Copy, Debug)]
pub struct TokenAggregate {
    /// Its company.
    pub company: CompanyId,
    /// Its id.
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
