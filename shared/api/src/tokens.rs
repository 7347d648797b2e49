//! Bodies of `/v1/files/{id}/tokens`. The descriptions of issued tokens belong to the read model.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::present::present;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::TokenId;

/// Settings of a new download token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueBody {
    /// Lifetime in seconds; 3,600 by default.
    pub expires_in_s: Option<u32>,
    /// Maximum number of downloads: 1 to 10,000, 1 by default. `null` means no limit.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub max_downloads: Option<Option<u32>>,
}

/// New download token.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenIssued {
    #[schema(value_type = Uuid)]
    pub id: TokenId,
    pub file_id: Uuid,
    /// Text of the token. Only this response contains it.
    pub token: String,
    /// Path of the download, which contains the text of the token.
    pub url: String,
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    pub max_downloads: Option<u32>,
}
