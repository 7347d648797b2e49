//! Converts events of the log to what watchers receive.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use waybill_api::frames::{ProgressFacts, Stage, Topic};
use waybill_domain::progress::Tracker;
use waybill_domain::upload::Phase;
use waybill_read_model::queries::Preview;
use waybill_schema::events::{FileEvent, SessionEvent, ShareEvent, UploadEvent};
use waybill_schema::{Entity, Event, Recorded, SessionStatus, StorageTier, UploadId, UploadStatus, Verdict};

/// Approximate size of a frame without its facts in bytes.
const FRAME_BYTES: usize = 200;

/// An event on its way to watchers.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) seq: u64,
    pub(crate) what: What,
    /// Approximate size as a frame in bytes.
    pub(crate) bytes: usize,
}

impl Live {
    /// Creates an event and estimates its size.
    pub(crate) fn new(seq: u64, what: What) -> Self {
        let bytes = match &what {
            What::Transition { facts, .. } => {
                FRAME_BYTES + facts.iter().map(|(name, fact)| about_bytes(name, fact)).sum::<usize>()
            }
            What::Progress(_) => FRAME_BYTES,
        };
        Self { seq, what, bytes }
    }
}

/// Estimates the size of a fact as JSON.
fn about_bytes(name: &str, fact: &Value) -> usize {
    let bytes = match fact {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => fact.to_string().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    };
    name.len() + bytes
}

/// Content of an event for watchers.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A lifecycle transition. Transitions are never skipped.
    Transition { kind: &'static str, facts: Map<String, Value> },
    /// The progress of an upload. Only the newest progress is sent.
    Progress(ProgressFacts),
}

/// Returns all topics of an event.
pub(crate) fn topics(recorded: &Recorded) -> Vec<Topic> {
    let routing = &recorded.envelope.routing;
    let mut topics = vec![Topic::Company(recorded.subject.company)];
    match recorded.subject.aggregate {
        Entity::UploadLifecycle(id) | Entity::UploadChunks(id) | Entity::File(id) => {
            topics.push(Topic::Upload(id));
        }
        Entity::Session(id) => topics.push(Topic::Session(id)),
        _ => {}
    }
    topics.extend(routing.session_id.map(Topic::Session));
    topics.extend(routing.chatroom_id.map(Topic::Chatroom));
    topics.extend(routing.thread_id.map(Topic::Thread));
    topics
}

/// Returns `true` if the event is about an upload whose file is not verified, which only its uploader and admins see.
pub(crate) fn is_before_verification(recorded: &Recorded) -> bool {
    let Event::Upload(event) = &recorded.event else { return false };
    match event {
        UploadEvent::FileVerified(_) | UploadEvent::FileUploaded(_) => false,
        UploadEvent::UploadStarted(_)
        | UploadEvent::UploadLengthSet(_)
        | UploadEvent::UploadConcatenated(_)
        | UploadEvent::UploadExpired(_)
        | UploadEvent::UploadCancelled(_)
        | UploadEvent::FileCompleted(_)
        | UploadEvent::FileRejected(_)
        | UploadEvent::QuarantineSigned(_)
        | UploadEvent::QuarantineCopied(_)
        | UploadEvent::QuarantineCleared(_)
        | UploadEvent::MultipartOpened(_)
        | UploadEvent::ChunkUploaded(_)
        | UploadEvent::PartAssembled(_) => true,
    }
}

/// Returns the progress of an upload.
pub(crate) fn progress(id: UploadId, tracker: &Tracker) -> ProgressFacts {
    let progress = tracker.progress();
    let stage = match tracker.upload.phase {
        Phase::Absent | Phase::Active => Stage::Uploading,
        Phase::Verifying => Stage::Verifying,
        Phase::Verified { .. }
        | Phase::Rejected { .. }
        | Phase::Cancelled
        | Phase::Expired
        | Phase::Concatenated { .. } => Stage::Ended,
    };
    ProgressFacts {
        upload_id: id,
        stage: stage.into(),
        bytes_uploaded: progress.bytes_uploaded,
        total_bytes: progress.total_bytes,
        progress_percentage: progress.percentage,
        upload_speed_bytes_per_s: progress.upload_speed_bytes_per_s,
        estimated_time_remaining_s: progress.estimated_time_remaining_s,
        current_chunk: progress.current_chunk,
        total_chunks: progress.total_chunks,
    }
}

/// Returns the progress of an upload of 100 bytes.
#[cfg(test)]
pub(crate) fn of_a_hundred(upload_id: UploadId, bytes_uploaded: u64) -> ProgressFacts {
    ProgressFacts {
        upload_id,
        stage: Stage::Uploading.into(),
        bytes_uploaded,
        total_bytes: 100,
        progress_percentage: 0,
        upload_speed_bytes_per_s: 0,
        estimated_time_remaining_s: None,
        current_chunk: 0,
        total_chunks: 1,
    }
}

/// Returns the transition that watchers receive for an event, or `None` if they do not receive it.
pub(crate) fn transition(recorded: &Recorded) -> Option<What> {
    let time = DateTime::from_timestamp_millis(recorded.envelope.time.0).unwrap_or_default();
    let (mut facts, more) = match (&recorded.event, recorded.subject.aggregate) {
        (Event::Upload(event), Entity::UploadLifecycle(id)) => {
            (json!({ "upload_id": id, "file_id": id }), upload(event)?)
        }
        (Event::File(event), Entity::File(id)) => (json!({ "upload_id": id, "file_id": id }), file(event, time)?),
        (Event::Session(event), Entity::Session(id)) => (json!({ "session_id": id }), session(event)),
        (Event::Share(event), Entity::Share(id)) => (json!({ "association_id": id }), share(event)),
        (Event::Upload(_) | Event::File(_) | Event::Session(_) | Event::Share(_), _) => return None,
        (Event::Token(_) | Event::Link(_) | Event::Content(_) | Event::Quota(_) | Event::Directory(_), _) => {
            return None;
        }
    };
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    match facts {
        Value::Object(facts) => Some(What::Transition { kind: recorded.event.event_type(), facts }),
        _ => None,
    }
}

fn upload(event: &UploadEvent) -> Option<Value> {
    Some(match event {
        UploadEvent::UploadStarted(upload) => json!({
            "status": UploadStatus::Pending.as_str(),
            "original_name": upload.started.original_name,
            "size_bytes": (!upload.length_deferred).then_some(upload.started.size_bytes),
        }),
        UploadEvent::UploadLengthSet(set) => json!({ "size_bytes": set.size_bytes }),
        UploadEvent::FileCompleted(_) => json!({ "status": UploadStatus::Uploading.as_str() }),
        UploadEvent::FileVerified(verified) => {
            json!({ "status": UploadStatus::Completed.as_str(), "sha256": verified.sha256 })
        }
        UploadEvent::FileUploaded(uploaded) => json!({
            "status": UploadStatus::Completed.as_str(),
            "original_name": uploaded.started.original_name,
            "size_bytes": uploaded.started.size_bytes,
            "sha256": uploaded.sha256,
        }),
        UploadEvent::FileRejected(rejected) => json!({
            "status": UploadStatus::Failed.as_str(),
            "error_code": rejected.code,
            "error_message": rejected.message,
        }),
        UploadEvent::UploadExpired(_) => {
            json!({ "status": UploadStatus::Failed.as_str(), "error_code": "upload_expired" })
        }
        UploadEvent::UploadCancelled(_) => json!({ "status": UploadStatus::Cancelled.as_str() }),
        // These events only tell how bytes are stored. Chunks are reported as progress.
        UploadEvent::UploadConcatenated(_)
        | UploadEvent::QuarantineSigned(_)
        | UploadEvent::QuarantineCopied(_)
        | UploadEvent::QuarantineCleared(_)
        | UploadEvent::MultipartOpened(_)
        | UploadEvent::ChunkUploaded(_)
        | UploadEvent::PartAssembled(_) => return None,
    })
}

fn file(event: &FileEvent, time: DateTime<Utc>) -> Option<Value> {
    Some(match event {
        FileEvent::FileRenamed(renamed) => json!({ "display_name": renamed.display_name }),
        FileEvent::FileLabelled(labelled) => json!({ "labels": labelled.labels }),
        FileEvent::FileDeleted(_)
        | FileEvent::FileRestored(_)
        | FileEvent::FileMetadataChanged(_)
        | FileEvent::FilePurged(_) => json!({}),
        FileEvent::FileScanned(scanned) => {
            let result = &scanned.result;
            json!({ "verdict": Verdict::from(result), "signature": result.signature(), "reason": result.reason() })
        }
        FileEvent::FileReleased(_) => json!({}),
        FileEvent::FileArchived(archived) => json!({ "storage_tier": archived.tier.as_str() }),
        FileEvent::FileRestoreRequested(_) => json!({ "restore_requested_at": time }),
        FileEvent::FileThawed(_) => json!({ "storage_tier": StorageTier::Hot.as_str() }),
        FileEvent::LocationStripped(event) => json!({ "location": event.stripped.as_str() }),
        FileEvent::PreviewsMade(made) => json!({ "preview": Preview::of(made, time) }),
        FileEvent::PreviewFailed(failed) => json!({ "preview": Preview::failed(failed, time) }),
        FileEvent::FileSpaceReleased(_) | FileEvent::FileChecksummed(_) => return None,
    })
}

fn session(event: &SessionEvent) -> Value {
    match event {
        SessionEvent::SessionOpened(_) | SessionEvent::SessionClosed(_) => json!({}),
        SessionEvent::SessionCancelled(_) => json!({ "status": SessionStatus::Cancelled.as_str() }),
    }
}

fn share(event: &ShareEvent) -> Value {
    match event {
        ShareEvent::FileShared(shared) => json!({
            "file_id": shared.file_id,
            "shared_by": shared.shared_by,
            "access_type": shared.access_type,
        }),
        ShareEvent::ShareChanged(changed) => json!({ "access_type": changed.access_type }),
        ShareEvent::SharePinned(pinned) => json!({ "is_pinned": pinned.is_pinned }),
        ShareEvent::ShareRevoked(_) => json!({}),
    }
}
