//! Body of `POST /v1/progress/tickets`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A ticket. It works once, from the same origin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    pub ticket: String,
    pub expires_in_s: i64,
}
