//! The aggregate of an upload.

use super::{Command, State, decide, evolve};
use crate::{Aggregate, Refusal};
use std::convert::Infallible;
use waybill_schema::events::{UploadDescription, UploadEvent};
use waybill_schema::{CompanyId, Entity, Routing, Subject, Timestamp, UploadId};

/// Upload.
#[derive(Clone, Copy, Debug)]
pub struct UploadAggregate {
    /// Company of the upload.
    pub company: CompanyId,
    /// Id of the upload.
    pub upload: UploadId,
}

impl Aggregate for UploadAggregate {
    type State = State;
    type Command = Command;
    type Event = UploadEvent;
    const SNAPSHOT_VERSION: Option<u16> = Some(3);

    fn subject(&self) -> Subject {
        Subject::new(self.company, Entity::UploadLifecycle(self.upload))
    }

    fn facts(&self) -> Option<Subject> {
        Some(Subject::new(self.company, Entity::UploadChunks(self.upload)))
    }

    fn is_over(state: &Self::State) -> bool {
        state.has_ended()
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(state: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        decide(state, command)
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
    type State = State;
    type Command = Infallible;
    type Event = UploadEvent;

    fn subject(&self) -> Subject {
        self.0.subject()
    }

    fn evolve(state: &mut Self::State, event: &Self::Event, time: Timestamp) {
        evolve(state, event, time);
    }

    fn decide(_: &Self::State, command: Self::Command) -> Result<Option<Self::Event>, Refusal> {
        match command {}
    }
}

/// Returns the routing for the events of an upload and its file.
fn routing_of(started: &UploadDescription) -> Routing {
    Routing {
        session_id: started.session_id,
        chatroom_id: started.chatroom_id,
        thread_id: started.thread_id,
        uploaded_by: Some(started.uploaded_by),
    }
}
