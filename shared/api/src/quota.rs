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
