//! Error answers (RFC 9457).
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error (RFC 9457). Some errors have further members.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// Stable error code; docs/errors.md lists all codes.
    pub code: String,
    /// Explanation for people: the error and what to do about it.
    pub detail: String,
}
