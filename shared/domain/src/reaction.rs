//! Reactions: the work of a worker because of an event, as data. This is the only place that says which events have a
//! reaction.

use waybill_schema::events::{FileEvent, SessionEvent, UploadEvent, UploadKind};
use waybill_schema::{Event, SessionId, UploadId};

/// Work because of an event. It can be repeated without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Load the upload and take its next steps ([`crate::upload::react`]).
    TakeSteps,
    /// Take the steps of an upload that has no other event than this one.
    TakeStepsOfWhole,
    /// Cancel the upload if its session was cancelled while the upload started.
    CancelIfSessionWas {
        /// The session of the upload.
        session: SessionId,
        /// `true` to take the steps of the upload afterwards.
        takes_steps: bool,
    },
    /// Delete the partial uploads of the final upload `into` if it had ended without a file when it claimed them.
    DeletePartialsIfEnded {
        /// The final upload.
        into: UploadId,
    },
    /// Delete the bytes of a purged file that no other file needs, and release their space.
    Purge,
    /// Cancel the running uploads of a cancelled session.
    CancelUploadsOfSession,
}

/// Returns the reaction to an event; `None` if a worker has nothing to do.
pub fn reaction_to(event: &Event) -> Option<Reaction> {
    match event {
        Event::Upload(event) => match event {
            UploadEvent::UploadStarted(upload) => {
                let takes_steps = matches!(upload.kind, UploadKind::Final { .. });
                match upload.started.session_id {
                    Some(session) => Some(Reaction::CancelIfSessionWas { session, takes_steps }),
                    None => takes_steps.then_some(Reaction::TakeSteps),
                }
            }
            UploadEvent::FileUploaded(_) => Some(Reaction::TakeStepsOfWhole),
            UploadEvent::UploadConcatenated(event) => Some(Reaction::DeletePartialsIfEnded { into: event.into }),
            UploadEvent::FileCompleted(_)
            | UploadEvent::FileVerified(_)
            | UploadEvent::FileRejected(_)
            | UploadEvent::UploadCancelled(_)
            | UploadEvent::UploadExpired(_)
            | UploadEvent::QuarantineSigned(_) => Some(Reaction::TakeSteps),
            UploadEvent::UploadLengthSet(_)
            | UploadEvent::QuarantineCopied(_)
            | UploadEvent::QuarantineCleared(_)
            | UploadEvent::MultipartOpened(_)
            | UploadEvent::ChunkUploaded(_)
            | UploadEvent::PartAssembled(_) => None,
        },
        Event::File(event) => match event {
            FileEvent::FilePurged(_) => Some(Reaction::Purge),
            FileEvent::FileRenamed(_)
            | FileEvent::FileDeleted(_)
            | FileEvent::FileRestored(_)
            | FileEvent::FileMetadataChanged(_)
            | FileEvent::FileLabelled(_)
            | FileEvent::FileSpaceReleased(_)
            | FileEvent::FileScanned(_)
            | FileEvent::FileReleased(_)
            | FileEvent::PreviewsMade(_)
            | FileEvent::PreviewFailed(_)
            | FileEvent::FileArchived(_)
            | FileEvent::FileRestoreRequested(_)
            | FileEvent::FileThawed(_)
            | FileEvent::LocationStripped(_)
            | FileEvent::FileChecksummed(_) => None,
        },
        Event::Session(event) => match event {
            SessionEvent::SessionCancelled(_) => Some(Reaction::CancelUploadsOfSession),
            SessionEvent::SessionOpened(_) | SessionEvent::SessionClosed(_) => None,
        },
        Event::Share(_)
        | Event::Token(_)
        | Event::Link(_)
        | Event::Content(_)
        | Event::Quota(_)
        | Event::Directory(_) => None,
    }
}
