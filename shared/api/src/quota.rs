//! Bodies of `/v1/quota` and of the quota in `/v1/admin`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::CompanyId;

/// The storage limit of a company.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitBody {
    /// Bytes that the company can store, at most 2^63 - 1.
    pub storage_limit_bytes: u64,
}

/// Limit of the bytes of a user, or of each user of a company.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserLimitBody {
    /// Bytes that the files and open uploads of a user may have together, at most 2^63 - 1; `null` for no limit.
    pub user_limit_bytes: Option<u64>,
}

/// The limit of a user, and the bytes that count towards it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
pub struct UserQuota {
    /// Bytes that the files and open uploads of the user may have together; `null` for no limit.
    pub user_limit_bytes: Option<u64>,
    /// Bytes of the verified files that the user uploaded or received with upload links.
    pub user_used_bytes: u64,
    /// Bytes that open uploads of the user have reserved.
    pub user_reserved_bytes: u64,
}

/// The quota of a company.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuotaBody {
    #[schema(value_type = Uuid)]
    pub company_id: CompanyId,
    /// Bytes that the company can store.
    pub storage_limit_bytes: u64,
    /// Bytes of the verified files.
    pub storage_used_bytes: u64,
    /// Bytes that open uploads have reserved.
    pub storage_reserved_bytes: u64,
    pub file_count: u32,
    /// Id of the quota. This member and the following ones are missing until the company has an event about its quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_calculated_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}
