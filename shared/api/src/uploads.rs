//! Bodies and queries of `/v1/uploads`, and the query of `POST /v1/files`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::{Extensible, Metadata};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Description of a file by the client.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    pub name: String,
    pub size_bytes: u64,
    /// Media type. If it is absent, Waybill derives it from the name or from the content.
    pub mime_type: Option<String>,
    /// Media type in the headers of the request or of the form's part.
    #[serde(skip)]
    pub content_type: Option<String>,
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    pub sha256: Option<String>,
    pub session_id: Option<Uuid>,
    pub chatroom_id: Option<Uuid>,
    pub thread_id: Option<Uuid>,
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Path of the bytes; `gateway` by default.
    #[serde(default, skip_serializing_if = "Mode::is_gateway")]
    pub mode: Mode,
}

/// Path of the bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The client sends the bytes to the gateway.
    #[default]
    Gateway,
    /// The client sends the bytes to the object store through presigned URLs.
    Direct,
}

impl Mode {
    fn is_gateway(&self) -> bool {
        *self == Self::Gateway
    }
}

/// Description of a file in the query of a request whose body is the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// File name. It is required unless the file comes in a form that contains its name.
    pub name: Option<String>,
    /// Media type. If it is absent, Waybill derives it from `Content-Type`, the name or the content.
    pub mime_type: Option<String>,
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    pub sha256: Option<String>,
    pub session_id: Option<Uuid>,
    pub chatroom_id: Option<Uuid>,
    pub thread_id: Option<Uuid>,
    /// Metadata as a JSON object.
    pub metadata: Option<String>,
}

/// New upload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadStarted {
    pub upload_id: Uuid,
    pub file_id: Uuid,
    /// Size of every chunk except the last one.
    pub part_size_bytes: u64,
    pub total_chunks: u32,
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// State of an upload. Sizes are in bytes, and times are in the format of RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadStatus {
    pub upload_id: Uuid,
    pub file_id: Uuid,
    /// `PENDING`, `UPLOADING` (until the file is verified), `COMPLETED`, `FAILED` or `CANCELLED`.
    #[schema(value_type = String)]
    pub status: Extensible<Status>,
    /// Number of consecutive bytes, from the first byte on, that are stored.
    pub offset_bytes: u64,
    /// Total number of stored bytes.
    pub bytes_uploaded: u64,
    /// Size of the file; `null` if it is not known yet.
    pub size_bytes: Option<u64>,
    /// Missing ranges as `[from, to]`. The byte at `to` is not part of the range.
    pub missing: Vec<[u64; 2]>,
    pub part_size_bytes: u64,
    pub total_chunks: u32,
    #[schema(format = DateTime)]
    pub started_at: String,
    pub session_id: Option<Uuid>,
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// SHA-256 of the file. It is present after the verification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Code of the error. It is present if the upload failed or expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// Status of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Started, without stored bytes.
    Pending,
    /// Bytes are being transferred or verified.
    Uploading,
    /// Verified.
    Completed,
    /// Rejected or expired.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl From<waybill_schema::UploadStatus> for Status {
    fn from(status: waybill_schema::UploadStatus) -> Self {
        match status {
            waybill_schema::UploadStatus::Pending => Self::Pending,
            waybill_schema::UploadStatus::Uploading => Self::Uploading,
            waybill_schema::UploadStatus::Completed => Self::Completed,
            waybill_schema::UploadStatus::Failed => Self::Failed,
            waybill_schema::UploadStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Stored chunk, or stored piece of a chunk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChunkStored {
    pub index: u32,
    /// Number of bytes of this request.
    pub received_bytes: u64,
    /// Number of consecutive bytes, from the first byte of the file on, that are stored.
    pub offset_bytes: u64,
}

/// Statement of the client that all bytes were sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Completion {
    /// SHA-256 of the file, which the verification compares with the stored bytes.
    pub sha256: Option<String>,
}
