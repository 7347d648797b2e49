//! Bodies and queries of `/v1/audit`, and the lines of exports.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_schema::{CompanyId, Event};

/// Query of `GET /v1/audit`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only the history of this file.
    pub file_id: Option<Uuid>,
    /// Only events of this actor: the id of a user, or an actor as events name it, such as `worker:…`.
    pub actor: Option<String>,
    /// Only events of this type, or refusals with this code.
    pub kind: Option<String>,
    /// Only events at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only events before this time.
    pub until: Option<DateTime<Utc>>,
    /// Return refused requests instead of events.
    #[serde(default)]
    #[param(required = false)]
    pub refusals: bool,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
    /// Only events after this position. Ignored if there is a cursor.
    pub after: Option<String>,
    /// Maximum number of entries to read for a page: 1 to 1,000, 100 by default. Filters can leave fewer.
    pub limit: Option<u16>,
}

/// A page of the audit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditPage {
    pub items: Vec<AuditEntry>,
    /// `null` on the last page.
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AuditEntry {
    Event(Box<EventEntry>),
    Refused(RefusedEntry),
    /// An event that this version of Waybill cannot read.
    Unreadable {
        position: String,
        subject: String,
        unreadable: String,
    },
}

/// A recorded event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventEntry {
    /// Position of the event in the log: an opaque value for `after`.
    pub position: String,
    #[schema(format = DateTime)]
    pub time: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub version: u16,
    pub subject: String,
    pub actor: String,
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The request or the event that caused this event.
    pub cause: String,
    #[schema(value_type = Object)]
    pub data: Event,
}

/// A refused request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusedEntry {
    #[schema(format = DateTime)]
    pub time: String,
    pub actor: String,
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    pub cause: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub code: String,
}

/// The public key that verifies the signed heads of exports.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublicKey {
    pub algorithm: String,
    /// 32 bytes in base64.
    pub public_key: String,
}

/// Line of an export with an event. `E` is the readable form of the event: servers write their own types, and clients
/// read any JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportedEvent<E> {
    /// Position of the event in the log.
    pub position: String,
    pub subject: String,
    pub headers: BTreeMap<String, String>,
    /// The stored bytes in base64.
    pub body: String,
    /// Digest of the chain up to this event.
    pub chain: String,
    /// The decoded event, for human readers. Missing if this version of Waybill cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<E>,
}

/// Last line of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    pub head: Head,
    /// Key that verifies the signature: 32 bytes in base64.
    pub public_key: String,
    /// Ed25519 signature of the head in base64.
    pub signature: String,
}

/// Head of the chain of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Digest of the chain up to the last event.
    pub chain: String,
    pub company_id: CompanyId,
    /// Number of events.
    pub events: u64,
    /// Position of the last event; `null` if there are no events.
    pub position: Option<String>,
    /// Time of the export in the format of RFC 3339.
    pub time: String,
}
