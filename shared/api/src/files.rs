//! Bodies and queries of `/v1/files`. The descriptions of files themselves belong to the read model.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::Metadata;
use crate::present::present;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_schema::{ChatroomId, ThreadId};

/// Changes of a file. At least one member is required.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// New name that users see.
    pub display_name: Option<String>,
    /// New metadata. It replaces all of the existing metadata; `null` removes it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Option<Metadata>>,
    /// New labels, at most 50 of at most 100 characters, and at most 2 KiB in total. They replace all of the existing labels; `null`
    /// removes them.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub labels: Option<Option<Vec<String>>>,
}

/// Query of `DELETE /v1/files/{id}`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// `true` to purge the file immediately instead of after the retention period. Its bytes are deleted, their space
    /// is released, and the file cannot be restored.
    #[serde(default)]
    #[param(required = false)]
    pub purge: bool,
}

/// Query of `GET /v1/files`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Chatroom whose files are listed. It cannot be combined with `thread_id`.
    #[param(value_type = Option<Uuid>)]
    pub chatroom_id: Option<ChatroomId>,
    /// Thread whose files are listed. It cannot be combined with `chatroom_id`.
    #[param(value_type = Option<Uuid>)]
    pub thread_id: Option<ThreadId>,
    /// Processing status of the files; `COMPLETED` by default.
    #[param(inline)]
    pub status: Option<ProcessingStatus>,
    /// Part of the file name, at most 255 bytes.
    pub name: Option<String>,
    /// Media type, or the beginning of one followed by `*`; at most 255 bytes.
    pub mime_type: Option<String>,
    /// Label of the files.
    pub label: Option<String>,
    /// Declared metadata key (`WAYBILL_METADATA_KEYS`) and value of the files: `KEY:VALUE`. Texts of up to 100 characters, numbers and
    /// truth values are found, also in an array.
    pub metadata: Option<String>,
    /// Verdict of the last virus scan of the files. Without `status`, the list then includes files that cannot be read.
    #[param(inline)]
    pub verdict: Option<Verdict>,
    /// `made` for files that have previews, `failed` for files whose previews could not be made.
    #[param(inline)]
    pub preview: Option<PreviewFilter>,
    /// Storage tier of the files.
    #[param(inline)]
    pub storage_tier: Option<StorageTier>,
    /// Order of the files. The files of a chatroom or thread can be sorted by `created_at` only: `-created_at` lists pinned files first
    /// and then the newest, `created_at` is the same list from its end.
    #[serde(default)]
    #[param(inline, required = false)]
    pub sort: Sort,
    #[serde(default)]
    #[param(inline, required = false)]
    pub view: View,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
    /// Maximum number of files on the page: 1 to 200, 50 by default.
    pub limit: Option<u16>,
}

/// Order of a list of files; `-` before a member means from high to low. Names are compared without differences in case, by their first
/// 128 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Sort {
    #[default]
    #[serde(rename = "-created_at")]
    Newest,
    #[serde(rename = "created_at")]
    Oldest,
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameReversed,
    #[serde(rename = "size_bytes")]
    Smallest,
    #[serde(rename = "-size_bytes")]
    Largest,
}

/// Result of making previews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreviewFilter {
    Made,
    Failed,
}

/// Storage tier of the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageTier {
    Hot,
    Cold,
    /// The file must be restored before it can be read.
    Archive,
}

impl From<StorageTier> for waybill_schema::StorageTier {
    fn from(tier: StorageTier) -> Self {
        match tier {
            StorageTier::Hot => Self::Hot,
            StorageTier::Cold => Self::Cold,
            StorageTier::Archive => Self::Archive,
        }
    }
}

/// Members of each file in the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The members that a list usually shows.
    List,
    /// All members.
    #[default]
    Full,
}

/// Processing status of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProcessingStatus {
    Pending,
    Processing,
    #[default]
    Completed,
    Failed,
}

impl ProcessingStatus {
    /// Returns the name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Processing => "PROCESSING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

impl From<ProcessingStatus> for waybill_schema::ProcessingStatus {
    fn from(status: ProcessingStatus) -> Self {
        match status {
            ProcessingStatus::Pending => Self::Pending,
            ProcessingStatus::Processing => Self::Processing,
            ProcessingStatus::Completed => Self::Completed,
            ProcessingStatus::Failed => Self::Failed,
        }
    }
}

/// Verdict of a virus scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    Clean,
    Infected,
    /// The scanner could not look at everything.
    Unscanned,
}

impl From<Verdict> for waybill_schema::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Clean => Self::Clean,
            Verdict::Infected => Self::Infected,
            Verdict::Unscanned => Self::Unscanned,
        }
    }
}

/// Members of a file in the view `list`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Listed {
    pub id: Uuid,
    pub name: String,
    pub mime_type: String,
    pub size_bytes: i64,
    pub uploaded_by: Uuid,
    pub processing_status: String,
    pub created_at: DateTime<Utc>,
    /// Verdict of the last virus scan; `null` before the first one.
    pub verdict: Option<String>,
    /// Previews, as in the view `full`; `null` if the file has none, or none yet.
    #[schema(value_type = Option<Object>)]
    pub preview: Option<serde_json::Value>,
    /// Storage tier of the bytes: `hot`, `cold` or `archive`.
    pub storage_tier: String,
}
