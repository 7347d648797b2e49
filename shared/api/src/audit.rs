//! Bodies and queries of `/v1/audit`, and the lines of exports.
#![expect(missing_docs, reason = "the documentation is the description in OpenAPI, and some names need none")]

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use waybill_schema::{CompanyId, Event, Sha256Digest};

/// Query of `GET /v1/audit`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only the history of this file: its upload, its changes, its associations and its download tokens (of both the 1,000
    /// newest, without expired links and downloads by links without `max_downloads`), or the refusals or reads that concern
    /// it.
    pub file_id: Option<Uuid>,
    /// Only events of this actor: the id of a user, or an actor as events name it, such as `worker:…`.
    pub actor: Option<String>,
    /// Only events of this type, refusals with this code, or reads with this action: `download`, `list` or `audit`.
    pub kind: Option<String>,
    /// Only events at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only events before this time.
    pub until: Option<DateTime<Utc>>,
    /// Return refused requests instead of events.
    #[serde(default)]
    #[param(required = false)]
    pub refusals: bool,
    /// Return downloads, lists and uses of the audit instead of events: one entry per user, target and hour.
    #[serde(default)]
    #[param(required = false)]
    pub reads: bool,
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
    Read(ReadEntry),
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
    /// Number of further refused requests of the user within a minute, in an entry that stands for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// A download or a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadEntry {
    /// Time of the first such read within the hour.
    #[schema(format = DateTime)]
    pub time: String,
    pub actor: String,
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    pub cause: String,
    /// `download`, `list`, or `audit` for reading or exporting the audit.
    pub action: String,
    /// The downloaded file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
    /// The chatroom whose files were listed. A list without a chatroom and a thread is that of the user or, for admins,
    /// of the company.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatroom_id: Option<Uuid>,
    /// The thread whose files were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<Uuid>,
}

/// The public key that verifies the signed heads of exports.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PublicKey {
    pub algorithm: String,
    /// 32 bytes in base64. This key signs new exports.
    pub public_key: String,
    /// Other keys of this installation, in base64: those that signed earlier exports, or will sign later ones.
    pub other_public_keys: Vec<String>,
}

/// Line of an export with an event. `E` is the readable form of the event: servers write their own types, and clients
/// read any JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExportedEvent<E> {
    #[serde(flatten)]
    pub stored: StoredEvent,
    /// Root of the tree of the events up to this one.
    pub root: Sha256Digest,
    /// The decoded event, for human readers. Missing if this version of Waybill cannot read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<E>,
}

/// An event exactly as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredEvent {
    /// Position of the event in the log.
    pub position: String,
    pub subject: String,
    pub headers: BTreeMap<String, String>,
    /// The stored bytes in base64.
    pub body: String,
}

/// A signed tree head: the last line of an export, the lines before it, and the objects under `audit-heads/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    pub head: Head,
    /// State from which the tree can grow. Only stored heads have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Key that verifies the signature: 32 bytes in base64.
    pub public_key: String,
    /// Ed25519 signature of [`Head::signed_text`] in base64.
    pub signature: String,
}

/// State from which a tree grows without its earlier events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resume {
    /// Hash of the last leaf.
    pub last_leaf: Sha256Digest,
    /// Roots of the complete subtrees, the largest first.
    pub peaks: Vec<Sha256Digest>,
}

/// Head of the tree of a company's events.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Head {
    pub company_id: CompanyId,
    /// Incarnation of the event stream, which changes when the stream is created again.
    pub epoch: String,
    /// Position of the last event; `null` if there are no events.
    pub position: Option<String>,
    /// Root of the tree (RFC 9162, section 2.1.1).
    pub root: Sha256Digest,
    /// Number of events.
    pub size: u64,
    /// Time of the signature in the format of RFC 3339.
    pub time: String,
}

impl Head {
    /// Returns the text that is signed: one field a line. Returns `None` if a field contains a line break, because
    /// different heads could then have the same text.
    pub fn signed_text(&self) -> Option<String> {
        let Self { company_id, epoch, position, root, size, time } = self;
        let position = position.as_deref().unwrap_or_default();
        let one_line = |text: &str| !text.contains(['\n', '\r']);
        (one_line(epoch) && one_line(position) && one_line(time))
            .then(|| format!("waybill tree head 1\n{company_id}\n{epoch}\n{size}\n{position}\n{root}\n{time}\n"))
    }
}
