//! Bodies of `/v1/files/{id}/associations` and `/v1/associations/{id}`. The descriptions of associations belong to the
//! read model.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use crate::present::present;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{AccessType, ChatroomId, Grant, ShareId, ThreadId, UserId};

/// Permissions for the file. Both members are optional.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionsBody {
    /// Permissions of every user that the association is for. Without it, they can view and download.
    #[schema(value_type = Option<Vec<described::Grant>>)]
    pub everyone: Option<Vec<Grant>>,
    /// Permissions of single users, by user id.
    #[serde(default)]
    #[schema(value_type = HashMap<Uuid, Vec<described::Grant>>)]
    pub users: BTreeMap<UserId, Vec<Grant>>,
}

/// The association to create. It needs either `chatroom_id` or `thread_id`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareBody {
    #[schema(value_type = Option<Uuid>)]
    pub chatroom_id: Option<ChatroomId>,
    #[schema(value_type = Option<Uuid>)]
    pub thread_id: Option<ThreadId>,
    #[serde(default)]
    #[schema(value_type = described::AccessType)]
    pub access_type: AccessType,
    pub permissions: Option<PermissionsBody>,
    /// Time at which the association ends. Without it, the association does not end.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The members to change. Missing members stay unchanged; `null` removes the permissions or the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    #[schema(value_type = Option<described::AccessType>)]
    pub access_type: Option<AccessType>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PermissionsBody>)]
    pub permissions: Option<Option<PermissionsBody>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub expires_at: Option<Option<DateTime<Utc>>>,
    pub is_pinned: Option<bool>,
}

/// The created association.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ShareCreated {
    #[schema(value_type = Uuid)]
    pub id: ShareId,
    pub file_id: Uuid,
}

/// Descriptions of values whose types belong to the schema of events.
mod described {
    use utoipa::ToSchema;

    /// Visibility of an association: `PUBLIC` for all users of the company, `PRIVATE` for the members of the chatroom or
    /// thread, `RESTRICTED` only for the members that `permissions.users` names.
    #[derive(ToSchema)]
    #[schema(rename_all = "SCREAMING_SNAKE_CASE")]
    #[expect(dead_code, reason = "only describes the API")]
    pub(super) enum AccessType {
        Public,
        Private,
        Restricted,
    }

    /// A permission: `view` the file's description, `download` its bytes and issue download tokens, `share` it with other
    /// places, or `manage` the association.
    #[derive(ToSchema)]
    #[schema(rename_all = "snake_case")]
    #[expect(dead_code, reason = "only describes the API")]
    pub(super) enum Grant {
        View,
        Download,
        Share,
        Manage,
    }
}
