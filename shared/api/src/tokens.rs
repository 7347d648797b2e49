//! Bodies of `/v1/files/{id}/tokens`. The descriptions of issued tokens belong to the read model.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::present::present;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_schema::{FileId, TokenId, UserId};

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

/// Query of `GET /v1/files/{id}/tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokensQuery {
    /// `true` for only tokens that were neither revoked nor used up and have not expired.
    #[serde(default)]
    #[param(required = false)]
    pub active: bool,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
    /// Maximum number of tokens on the page: 1 to 200, 200 by default.
    pub limit: Option<u16>,
}

/// Query of `GET /v1/admin/companies/{company}/tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CompanyTokensQuery {
    /// Only tokens that this user issued.
    #[param(value_type = Option<Uuid>)]
    pub user_id: Option<UserId>,
    /// Only tokens of this file.
    #[param(value_type = Option<Uuid>)]
    pub file_id: Option<FileId>,
    /// `true` for only tokens that were neither revoked nor used up and have not expired.
    #[serde(default)]
    #[param(required = false)]
    pub active: bool,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
    /// Maximum number of tokens on the page: 1 to 200, 200 by default.
    pub limit: Option<u16>,
}

/// Query of `DELETE /v1/admin/companies/{company}/tokens`. Without members, it names all tokens of the company.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevokeTokensQuery {
    /// Only tokens that this user issued.
    #[param(value_type = Option<Uuid>)]
    pub user_id: Option<UserId>,
    /// Only tokens of this file.
    #[param(value_type = Option<Uuid>)]
    pub file_id: Option<FileId>,
}

/// Result of revoking several tokens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokensRevoked {
    /// Number of tokens that this request revoked.
    pub revoked: usize,
    /// `false` if there are more tokens. Repeat the request then.
    pub is_complete: bool,
}
