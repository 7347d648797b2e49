//! Bodies and queries of `/v1/upload-links` and `GET /u/{token}`.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_schema::{ChatroomId, LinkId, ThreadId};

/// Upload link to make.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// Time in seconds within which uploads can start: at most 90 days. The default is 7 days.
    pub expires_in_s: Option<u32>,
    /// Maximum number of files, at most 10,000.
    pub max_files: u32,
    /// Maximum number of bytes of all files together.
    pub max_bytes: u64,
    /// Maximum size of one file in bytes.
    pub max_file_bytes: Option<u64>,
    /// Media types of the files, or beginnings of types followed by `*`; at most 50. The default is all types that the company accepts.
    #[serde(default)]
    pub mime_types: Vec<String>,
    /// Chatroom in which the files appear. The caller must be a member.
    #[schema(value_type = Option<Uuid>)]
    pub chatroom_id: Option<ChatroomId>,
    /// Thread in which the files appear. The caller must be a member.
    #[schema(value_type = Option<Uuid>)]
    pub thread_id: Option<ThreadId>,
    /// Text for the people who send files, at most 255 bytes.
    pub label: Option<String>,
    /// `true` if uploads must have the member `sender_name` in their metadata.
    #[serde(default)]
    pub ask_name: bool,
}

/// A new upload link.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkMade {
    pub id: Uuid,
    /// Text for the header `Authorization: Upload-Link …`. Waybill does not store it and cannot show it again.
    pub token: String,
    /// Address of the description of the link, for the page with which people send files.
    pub url: String,
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Query of `GET /v1/upload-links`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinksQuery {
    /// Id of the last link of the previous page.
    #[param(value_type = Option<Uuid>)]
    pub before: Option<LinkId>,
    /// Maximum number of links, 1 to 200; 50 by default.
    pub limit: Option<u16>,
}

/// Description of an upload link for the people who send files with it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkShown {
    pub label: Option<String>,
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Maximum size of one file in bytes.
    pub max_file_bytes: u64,
    /// Media types that are accepted, or beginnings of types followed by `*`.
    pub mime_types: Vec<String>,
    /// `true` if uploads must have the member `sender_name` in their metadata.
    pub ask_name: bool,
    /// Number of files that can still be sent.
    pub left_files: u32,
    /// Bytes of these files together.
    pub left_bytes: u64,
}
