//! Bodies of `POST /v1/archives`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::ProblemDetails;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{ChatroomId, SessionId, ThreadId};

/// Files for a zip archive: those with the ids, or those of one chatroom, thread or session.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiveBody {
    /// 1 to 1,000 files, in the order of the archive. All of them must be readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_ids: Option<Vec<Uuid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub chatroom_id: Option<ChatroomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub thread_id: Option<ThreadId>,
    /// Session of the user, or with the role `admin` of any user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub session_id: Option<SessionId>,
    /// Name of the archive, `files.zip` by default. `.zip` is added if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A zip archive that can be downloaded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MadeArchive {
    pub id: Uuid,
    /// Address of the archive. It needs no further credentials, so treat it like a password.
    pub url: String,
    pub name: String,
    /// Size of the archive in bytes.
    pub size_bytes: u64,
    pub file_count: usize,
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Files of the chatroom, thread or session that are not in the archive.
    pub left_out: Vec<LeftOut>,
}

/// File that is not in an archive.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LeftOut {
    pub file_id: Uuid,
    /// The problem that a download of the file would get.
    pub problem: ProblemDetails,
}
