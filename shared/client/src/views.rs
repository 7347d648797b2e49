//! Parts of answers that the commands read. The answers are rows of the read model, whose types no client needs
//! completely.

use serde::Deserialize;
use waybill_api::Extensible;
use waybill_api::uploads::Status;

/// File.
#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) original_name: String,
    pub(crate) display_name: Option<String>,
    pub(crate) size_bytes: u64,
    /// SHA-256. A file that is not verified has none.
    pub(crate) hash: Option<String>,
    pub(crate) is_processed: bool,
    pub(crate) created_at: String,
}

/// Session.
#[derive(Deserialize)]
pub(crate) struct Session {
    pub(crate) status: String,
    pub(crate) failed_files: u64,
    pub(crate) is_closed: bool,
}

impl Session {
    /// Returns `true` if uploads of the session can be running.
    pub(crate) fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }
}

/// State of a topic of a session.
#[derive(Deserialize)]
pub(crate) struct SessionTopic {
    pub(crate) session: Session,
}

/// Progress of an upload.
#[derive(Deserialize)]
pub(crate) struct UploadProgress {
    pub(crate) status: Extensible<Status>,
    pub(crate) error_code: Option<String>,
}

/// Facts of a change in a frame. Each kind of change sets some of them.
#[derive(Default, Deserialize)]
pub(crate) struct Change {
    pub(crate) upload_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) original_name: Option<String>,
    pub(crate) status: Option<Extensible<Status>>,
    pub(crate) error_code: Option<String>,
}

/// Entry of the audit.
#[derive(Deserialize)]
pub(crate) struct AuditEntry {
    /// Position of an event. Refused requests and reads have none.
    pub(crate) position: Option<String>,
}
