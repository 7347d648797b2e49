//! One event as watchers see it.

use crate::protocol::{ProgressFacts, Topic};
use serde_json::{Map, Value, json};
use waybill_domain::progress::Tracker;
use waybill_domain::upload::{Phase, Status};
use waybill_schema::{Aggregate, Event, Recorded, UploadId};

/// Bytes of a frame besides its facts, about.
const FRAME_BYTES: usize = 200;

/// An event on its way to watchers.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) seq: u64,
    pub(crate) what: What,
    /// Its size as a frame, about.
    pub(crate) bytes: usize,
}

impl Live {
    /// Makes an event.
    pub(crate) fn new(seq: u64, what: What) -> Self {
        let bytes = match &what {
            What::Transition { facts, .. } => FRAME_BYTES + facts.iter().map(about_bytes).sum::<usize>(),
            What::Progress(_) => FRAME_BYTES,
        };
        Self { seq, what, bytes }
    }
}

/// Estimates the size of a fact as JSON.
fn about_bytes((name, fact): (&String, &Value)) -> usize {
    let bytes = match fact {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => fact.to_string().len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    };
    name.len() + bytes
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A lifecycle transition; none is ever skipped.
    Transition { kind: &'static str, facts: Map<String, Value> },
    /// The newest figures of an upload.
    Progress(ProgressFacts),
}

/// What an event is about: everything that may be watched for it.
pub(crate) fn topics(recorded: &Recorded) -> Vec<Topic> {
    let routing = &recorded.envelope.routing;
    let mut topics = vec![Topic::Company(recorded.subject.company)];
    match recorded.subject.aggregate {
        Aggregate::UploadLifecycle(id) | Aggregate::UploadChunks(id) | Aggregate::File(id) => {
            topics.push(Topic::Upload(id));
        }
        Aggregate::Session(id) => topics.push(Topic::Session(id)),
        _ => {}
    }
    topics.extend(routing.session_id.map(Topic::Session));
    topics.extend(routing.chatroom_id.map(Topic::Chatroom));
    topics.extend(routing.thread_id.map(Topic::Thread));
    topics
}

/// The figures of an upload.
pub(crate) fn progress(id: UploadId, tracker: &Tracker) -> ProgressFacts {
    let progress = tracker.progress();
    let stage = match tracker.upload.phase {
        Phase::Absent | Phase::Active => "uploading",
        Phase::Completed => "verifying",
        _ => "ended",
    };
    ProgressFacts {
        upload_id: id,
        stage,
        bytes_uploaded: progress.bytes_uploaded,
        total_bytes: progress.total_bytes,
        progress_percentage: progress.percentage,
        upload_speed_bytes_per_s: progress.upload_speed_bytes_per_s,
        estimated_time_remaining_s: progress.estimated_time_remaining_s,
        current_chunk: progress.current_chunk,
        total_chunks: progress.total_chunks,
    }
}

/// A transition as watchers see it; `None` for events that are none.
pub(crate) fn transition(recorded: &Recorded) -> Option<What> {
    let mut facts = match recorded.subject.aggregate {
        Aggregate::UploadLifecycle(id) | Aggregate::File(id) => {
            json!({ "upload_id": id, "file_id": id })
        }
        Aggregate::Session(id) => json!({ "session_id": id }),
        Aggregate::Share(id) => json!({ "association_id": id }),
        _ => return None,
    };
    let more = match &recorded.event {
        Event::UploadStarted(upload) => json!({
            "status": Status::Pending.as_str(),
            "original_name": upload.started.original_name,
            "size_bytes": (!upload.length_deferred).then_some(upload.started.size_bytes),
        }),
        Event::UploadLengthSet(set) => json!({ "size_bytes": set.size_bytes }),
        Event::FileCompleted(_) => json!({ "status": Status::Uploading.as_str() }),
        Event::FileVerified(verified) => json!({ "status": Status::Completed.as_str(), "sha256": verified.sha256 }),
        Event::FileUploaded(uploaded) => json!({
            "status": Status::Completed.as_str(),
            "original_name": uploaded.started.original_name,
            "size_bytes": uploaded.started.size_bytes,
            "sha256": uploaded.sha256,
        }),
        Event::FileRejected(rejected) => json!({
            "status": Status::Failed.as_str(),
            "error_code": rejected.code,
            "error_message": rejected.message,
        }),
        Event::UploadExpired(_) => json!({ "status": Status::Failed.as_str(), "error_code": "upload_expired" }),
        Event::UploadCancelled(_) => json!({ "status": Status::Cancelled.as_str() }),
        Event::FileRenamed(renamed) => json!({ "display_name": renamed.display_name }),
        Event::FileDeleted(_) | Event::FileRestored(_) | Event::SessionOpened(_) | Event::SessionClosed(_) => json!({}),
        Event::FileMetadataChanged(_) | Event::FilePurged(_) | Event::ShareRevoked(_) => json!({}),
        Event::FileShared(shared) => json!({
            "file_id": shared.file_id,
            "shared_by": shared.shared_by,
            "access_type": shared.access_type,
        }),
        Event::ShareChanged(changed) => json!({ "access_type": changed.access_type }),
        Event::SharePinned(pinned) => json!({ "is_pinned": pinned.is_pinned }),
        Event::SessionCancelled(_) => json!({ "status": "CANCELLED" }),
        // How bytes are kept is no concern of watchers.
        _ => return None,
    };
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    match facts {
        Value::Object(facts) => Some(What::Transition { kind: recorded.event.event_type(), facts }),
        _ => None,
    }
}
