//! Bodies of `/v1/sessions`. The description of a session itself belongs to the read model.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use waybill_schema::SessionId;

/// The session to open.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Name of at most 255 bytes without control characters.
    pub name: Option<String>,
}

/// The opened session.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionOpened {
    #[schema(value_type = Uuid)]
    pub session_id: SessionId,
}
