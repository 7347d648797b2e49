//! Decides which reaction an event has.

use super::sessions::{cancel_if_session_was, cancel_session};
use super::upload_steps::{advance, take_steps};
use super::{ReactionError, concatenate, content};
use crate::Worker;
use waybill_domain::upload;
use waybill_repository::{LifecycleAggregate, Loaded, UploadAggregate, load};
use waybill_schema::events::{FileEvent, SessionEvent, UploadEvent, UploadKind};
use waybill_schema::{Causation, Entity, Event, Recorded, Timestamp};

/// Returns `true` if a worker reacts to this kind of event.
pub(crate) fn concerns_us(event: &Event) -> bool {
    match event {
        Event::Upload(event) => match event {
            UploadEvent::UploadStarted(upload) => {
                upload.started.session_id.is_some() || matches!(upload.kind, UploadKind::Final { .. })
            }
            UploadEvent::FileCompleted(_)
            | UploadEvent::FileVerified(_)
            | UploadEvent::FileRejected(_)
            | UploadEvent::FileUploaded(_)
            | UploadEvent::UploadCancelled(_)
            | UploadEvent::UploadExpired(_)
            | UploadEvent::QuarantineSigned(_)
            | UploadEvent::UploadConcatenated(_) => true,
            UploadEvent::UploadLengthSet(_)
            | UploadEvent::QuarantineCopied(_)
            | UploadEvent::QuarantineCleared(_)
            | UploadEvent::MultipartOpened(_)
            | UploadEvent::ChunkUploaded(_)
            | UploadEvent::PartAssembled(_) => false,
        },
        Event::File(event) => match event {
            FileEvent::FilePurged(_) => true,
            FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileSpaceReleased(_) => false,
        },
        Event::Session(event) => match event {
            SessionEvent::SessionCancelled(_) => true,
            SessionEvent::SessionOpened(_) | SessionEvent::SessionClosed(_) => false,
        },
        Event::Share(_) | Event::Token(_) | Event::Content(_) | Event::Quota(_) | Event::Directory(_) => false,
    }
}

/// Reacts to an event. A repeated call has no further effect.
pub(crate) async fn react(worker: &Worker, recorded: &Recorded) -> Result<(), ReactionError> {
    let company = recorded.subject.company;
    let causation = Causation::Event(recorded.position);
    match (&recorded.event, recorded.subject.aggregate) {
        (Event::Upload(event), Entity::UploadLifecycle(upload)) => {
            let aggregate = UploadAggregate { company, upload };
            react_to_upload(worker, aggregate, event, recorded.envelope.time, causation).await
        }
        (Event::File(FileEvent::FilePurged(_)), Entity::File(file)) => {
            content::purge(worker, company, file, causation).await
        }
        (Event::Session(SessionEvent::SessionCancelled(_)), Entity::Session(session)) => {
            cancel_session(worker, recorded, session, causation).await
        }
        (Event::Upload(_) | Event::File(_) | Event::Session(_), _) => Ok(()),
        (Event::Share(_) | Event::Token(_) | Event::Content(_) | Event::Quota(_) | Event::Directory(_), _) => Ok(()),
    }
}

/// Reacts to an event of an upload's lifecycle, recorded at `time`.
async fn react_to_upload(
    worker: &Worker,
    aggregate: UploadAggregate,
    event: &UploadEvent,
    time: Timestamp,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadAggregate { company, upload } = aggregate;
    match event {
        UploadEvent::UploadStarted(started) => {
            if let Some(session) = started.started.session_id {
                cancel_if_session_was(worker, company, session, upload, causation).await?;
            }
            match started.kind {
                UploadKind::Final { .. } => advance(worker, company, upload, causation).await,
                _ => Ok(()),
            }
        }
        // Such an upload has only this event, so its state need not be loaded.
        UploadEvent::FileUploaded(_) => {
            let mut loaded = Loaded::of_new();
            upload::evolve(&mut loaded.state, event, time);
            take_steps(worker, &aggregate, &mut loaded, causation).await
        }
        UploadEvent::UploadConcatenated(event) => {
            let aggregate = UploadAggregate { company, upload: event.into };
            let into = load(worker.log.as_ref(), &LifecycleAggregate(aggregate)).await?;
            // The final upload had already ended when this partial upload was claimed.
            if into.state.has_ended_without_file() {
                concatenate::delete_partials(worker, &aggregate, &into.state, causation).await?;
            }
            Ok(())
        }
        UploadEvent::FileCompleted(_)
        | UploadEvent::FileVerified(_)
        | UploadEvent::FileRejected(_)
        | UploadEvent::UploadCancelled(_)
        | UploadEvent::UploadExpired(_)
        | UploadEvent::QuarantineSigned(_) => advance(worker, company, upload, causation).await,
        UploadEvent::UploadLengthSet(_)
        | UploadEvent::QuarantineCopied(_)
        | UploadEvent::QuarantineCleared(_)
        | UploadEvent::MultipartOpened(_)
        | UploadEvent::ChunkUploaded(_)
        | UploadEvent::PartAssembled(_) => Ok(()),
    }
}
