//! Every name of a stream, a durable consumer, a bucket and a core subject, built in this one place.

use crate::{CompanyId, Subject, UploadId, UserId};
use std::fmt::Display;

/// The durable pull consumer that the workers of one partition share.
pub const REACTIONS_DURABLE: &str = "reactions";

/// Key-value bucket: running SHA-256 states of uploads, one key an upload.
pub const MIDSTATES_BUCKET: &str = "midstates";
/// Key-value bucket: requests that carried an `Idempotency-Key`, kept for 24 hours.
pub const IDEMPOTENCY_BUCKET: &str = "idempotency";
/// Key-value bucket: folds of long subjects, so that loading them is bounded.
pub const SNAPSHOTS_BUCKET: &str = "snapshots";
/// Key-value bucket: keys of objects that the store did not let be deleted.
pub const LEFTOVERS_BUCKET: &str = "leftovers";
/// Key-value bucket: reactions that were put aside, by the position of their event.
pub const PARKED_BUCKET: &str = "parked";
/// Key-value bucket: WebSocket tickets, kept for 30 seconds.
pub const TICKETS_BUCKET: &str = "tickets";

/// The stream that holds a partition's events.
pub fn event_stream(partition: u32) -> String {
    format!("EVT-{partition}")
}

/// The stream that holds a partition's refusals.
pub fn refusal_stream(partition: u32) -> String {
    format!("AUD-{partition}")
}

/// The refusals of one user.
pub fn refusal_subject(partition: u32, company: CompanyId, user: UserId) -> String {
    format!("aud.{partition}.{company}.{user}")
}

/// The refusals of a company's users.
pub fn refusals_filter(partition: u32, company: CompanyId) -> String {
    format!("aud.{partition}.{company}.*")
}

/// How all subjects of a company's events begin.
pub fn company_prefix(partition: u32, company: CompanyId) -> String {
    format!("evt.{partition}.{company}.")
}

/// The company of an event's subject, also of one that this version does not know.
pub fn company_of(subject: &str) -> Option<CompanyId> {
    let mut tokens = subject.split('.');
    let (evt, _, company) = (tokens.next()?, tokens.next()?, tokens.next()?);
    Some(CompanyId(company.parse().ok().filter(|_| evt == "evt")?))
}

/// Core subject, not in any stream: who brings the bytes of an upload is told there that somebody newer does.
pub fn takeover_subject(upload: UploadId) -> String {
    format!("ctl.takeover.{upload}")
}

/// Core subject on which nobody listens. NATS says so after it has delivered what was sent before.
pub const NOBODY: &str = "ctl.nobody";

/// The beginning of the keys of bytes that clients may write to by presigned URLs.
pub const QUARANTINE: &str = "q/";

/// The beginning of the keys of files.
pub const OBJECTS: &str = "o/";

/// The beginning of the keys of bytes that wait until they fill a part.
pub const STAGING: &str = "s/";

/// Object keys of an upload that a client may write to by presigned URLs.
pub fn quarantine_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{QUARANTINE}{company}/{upload}/")
}

/// Returns the beginning of an upload's object keys. Only Waybill writes to these objects, or a client into an open multipart
/// upload. All ids have the same length, so that no key of another upload has this beginning.
pub fn objects_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{OBJECTS}{company}/{upload}")
}

/// Returns the key of an object of an upload. Stores that keep folders have one for each company, and not for each file: a folder costs
/// them as much as a small file does.
pub fn object_key(company: CompanyId, upload: UploadId, name: impl Display) -> String {
    format!("{}-{name}", objects_prefix(company, upload))
}

/// Object keys of what an upload has staged.
pub fn staging_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{STAGING}{company}/{upload}/")
}

/// Key of an upload's SHA-256 midstate.
pub fn midstate_key(upload: UploadId) -> String {
    upload.to_string()
}

/// Key of the snapshot of a subject's fold.
pub fn snapshot_key(subject: Subject) -> String {
    subject.to_string()
}

/// Key of one piece of it. There are two sets of pieces: the snapshot's own key says which is the one.
pub fn snapshot_piece_key(subject: Subject, set: u8, piece: u32) -> String {
    format!("{subject}.{set}.{piece}")
}
