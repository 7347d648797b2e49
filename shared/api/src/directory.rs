//! Bodies of `/v1/admin/companies/{company}…`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{ChatroomId, CompanyId, LocationPolicy, ScanPolicy, UnscannedPolicy};

/// Rules of a company. With the role `service` they are limits, and with the role `admin` settings that apply within
/// these limits. Each rule that is absent is removed, unless its description says otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompanyBody {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
    /// Minimum of `retention_days` of the company's own settings. Needs the role `service`.
    pub min_retention_days: Option<u32>,
    /// Maximum validity of download links in seconds. 0 forbids download links.
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
    /// Virus scans: `off`, `inform` (files can be read before they are scanned) or `require` (they cannot).
    #[schema(value_type = Option<String>)]
    pub scan: Option<ScanPolicy>,
    /// Files that could not be scanned completely, if `scan` is `require`: `block` (the default) or `label`.
    #[schema(value_type = Option<String>)]
    pub unscanned: Option<UnscannedPolicy>,
    /// Number of days without a read after which a file is archived, if the installation has an archive. With the role `admin`, at
    /// most the number that the host product set.
    pub archive_after_days: Option<u32>,
    /// Metadata of JPEG, PNG and WebP pictures, such as the place where they were taken: `off` (everybody gets it) or `for_others`
    /// (only the uploader and admins get it).
    #[schema(value_type = Option<String>)]
    pub strip_location: Option<LocationPolicy>,
    /// Quota of the company in bytes. If it is absent, the quota does not change. With the role `admin`, at most the
    /// quota that the host product set.
    pub storage_limit_bytes: Option<u64>,
}

/// Limits that the host product set for a company. `null` stands for the limit of this installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CompanyLimits {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
    pub min_retention_days: Option<u32>,
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
    #[schema(value_type = Option<String>)]
    pub scan: Option<ScanPolicy>,
    #[schema(value_type = Option<String>)]
    pub unscanned: Option<UnscannedPolicy>,
    pub archive_after_days: Option<u32>,
    #[schema(value_type = Option<String>)]
    pub strip_location: Option<LocationPolicy>,
}

/// Time before which tokens become invalid.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOutBody {
    /// Tokens that were issued (`iat`) before this time are invalid (RFC 3339, at most one minute in the future). The
    /// default is now, in whole seconds.
    pub issued_before: Option<DateTime<Utc>>,
}

/// Company with the rules that apply, the limits of the host product, and the number of entries in its directory.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CompanyAnswer {
    #[schema(value_type = Uuid)]
    pub id: CompanyId,
    pub is_closed: bool,
    pub max_file_bytes: u64,
    pub max_session_bytes: u64,
    pub allowed_mime_types: Vec<String>,
    pub retention_days: Option<u32>,
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
    #[schema(value_type = String)]
    pub scan: ScanPolicy,
    #[schema(value_type = String)]
    pub unscanned: UnscannedPolicy,
    pub archive_after_days: Option<u32>,
    #[schema(value_type = String)]
    pub strip_location: LocationPolicy,
    pub storage_limit_bytes: u64,
    pub limits: CompanyLimits,
    pub users: usize,
    pub chatrooms: usize,
    pub threads: usize,
}

/// Chatroom to which a thread belongs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThreadBody {
    #[schema(value_type = Option<Uuid>)]
    pub chatroom_id: Option<ChatroomId>,
}

/// Changes of a directory, in the order in which they are applied.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    /// At most 1,000 operations.
    pub operations: Vec<Operation>,
}

/// Change of a directory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    RegisterUser { user_id: Uuid },
    RemoveUser { user_id: Uuid },
    OpenChatroom { chatroom_id: Uuid },
    DeleteChatroom { chatroom_id: Uuid },
    OpenThread { thread_id: Uuid, chatroom_id: Option<Uuid> },
    DeleteThread { thread_id: Uuid },
    AddChatroomMember { chatroom_id: Uuid, user_id: Uuid },
    RemoveChatroomMember { chatroom_id: Uuid, user_id: Uuid },
    AddThreadMember { thread_id: Uuid, user_id: Uuid },
    RemoveThreadMember { thread_id: Uuid, user_id: Uuid },
}

/// Result of a bulk request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Number of operations in the request. All of them were applied.
    pub applied: usize,
}

/// Result of the cancellation of the uploads of a user.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UploadsCancelled {
    /// Number of uploads that the request has cancelled, at most 1,000.
    pub cancelled: u32,
    /// Number of open uploads of the user that are left. If it is not 0, repeat the request.
    pub open: u32,
}
