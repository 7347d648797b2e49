//! Names of streams, durable consumers, key-value buckets, core subjects and object keys. No other module builds such
//! names.

use crate::{CompanyId, FileId, PreviewSet, Subject, Timestamp, UploadId, UserId, Variant};
use std::fmt::Display;
use uuid::Uuid;

/// The durable pull consumer that the workers of one partition share.
pub const REACTIONS_DURABLE: &str = "reactions";

/// The durable pull consumer of verified files that the processes with the role `content` of one partition share.
pub const SCANS_DURABLE: &str = "scans";

/// The durable pull consumer of files that can become readable, for previews.
pub const PREVIEWS_DURABLE: &str = "previews";

/// The durable pull consumer of contents that were compressed, whose replaced objects are deleted later.
pub const REPLACED_DURABLE: &str = "replaced";

/// Durable consumer of the role `content` for archived files that somebody wants to read.
pub const THAWS_DURABLE: &str = "thaws";

/// Durable consumer of the role `content` for files that nobody may read any more.
pub const PURGES_DURABLE: &str = "purges";

/// Key-value bucket: SHA-256 midstates of uploads, one key per upload.
pub const MIDSTATES_BUCKET: &str = "midstates";
/// Key-value bucket: requests that carried an `Idempotency-Key`, kept for 24 hours.
pub const IDEMPOTENCY_BUCKET: &str = "idempotency";
/// Key-value bucket: snapshots of aggregates with many events, so that loading takes a bounded time.
pub const SNAPSHOTS_BUCKET: &str = "snapshots";
/// Key-value bucket: keys of leftovers, which are objects that the store refused to delete.
pub const LEFTOVERS_BUCKET: &str = "leftovers";
/// Key-value bucket: parked reactions, by the position of their event.
pub const PARKED_BUCKET: &str = "parked";
/// Key-value bucket: WebSocket tickets, kept for 30 seconds.
pub const TICKETS_BUCKET: &str = "tickets";

/// Returns the name of the stream that holds the events of a partition.
pub fn event_stream(partition: u32) -> String {
    format!("EVT-{partition}")
}

/// Kind of the records about requests that append no events. Each kind has a stream in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Refused requests.
    Refusal,
    /// Downloads and lists.
    Read,
}

impl RecordKind {
    /// Returns the name of the stream of a partition.
    pub fn stream(self, partition: u32) -> String {
        match self {
            Self::Refusal => format!("AUD-{partition}"),
            Self::Read => format!("ACC-{partition}"),
        }
    }

    /// Returns the subject of the records about one user.
    pub fn subject(self, partition: u32, company: CompanyId, user: UserId) -> String {
        format!("{}.{partition}.{company}.{user}", self.prefix())
    }

    /// Returns the filter that matches the records about all users of a company.
    pub fn filter(self, partition: u32, company: CompanyId) -> String {
        format!("{}.{partition}.{company}.*", self.prefix())
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Refusal => "aud",
            Self::Read => "acc",
        }
    }
}

/// Returns the prefix of the subjects of all events of a company.
pub fn company_prefix(partition: u32, company: CompanyId) -> String {
    format!("evt.{partition}.{company}.")
}

/// Returns the company of the subject of an event, even if this build does not know the rest of the subject.
pub fn company_of(subject: &str) -> Option<CompanyId> {
    let mut tokens = subject.split('.');
    let (evt, _, company) = (tokens.next()?, tokens.next()?, tokens.next()?);
    Some(CompanyId(company.parse().ok().filter(|_| evt == "evt")?))
}

/// Returns the core NATS subject (not persisted) that tells the current writer of an upload to stop because a newer
/// request has taken over.
pub fn takeover_subject(upload: UploadId) -> String {
    format!("ctl.takeover.{upload}")
}

/// Core subject without subscribers. NATS reports that after it has delivered all earlier messages of the connection.
pub const NOBODY: &str = "ctl.nobody";

/// Prefix of quarantine keys, to which clients can write with presigned URLs.
pub const QUARANTINE: &str = "q/";

/// Prefix of the keys of files.
pub const OBJECTS: &str = "o/";

/// Prefix of the keys of staged objects.
pub const STAGING: &str = "s/";

/// Prefix of the keys of previews.
pub const VARIANTS: &str = "v/";

/// Prefix of the keys of the manifests of archives.
pub const ARCHIVES: &str = "z/";

/// Returns the key of the manifest of an archive that can be downloaded until `expires_s` in seconds since 1970. Stores list keys in
/// ascending order, so those that have expired are the first ones.
pub fn archive_key(expires_s: u64, company: CompanyId, id: Uuid) -> String {
    format!("{ARCHIVES}{expires_s:010}/{company}/{id}")
}

/// Returns the end of an archive, in seconds since 1970; `None` for other keys.
pub fn archive_expiry(key: &str) -> Option<u64> {
    key.strip_prefix(ARCHIVES)?.split_once('/')?.0.parse().ok()
}

/// Prefix of the keys of signed heads of the audit.
pub const AUDIT_HEADS: &str = "audit-heads/";

/// Returns the prefix of the keys of a company's audit heads.
pub fn audit_heads_prefix(company: CompanyId) -> String {
    format!("{AUDIT_HEADS}{company}/")
}

/// Returns the key of an audit head. Stores list keys in ascending order, so the number in the key decreases with time:
/// the newest head is the first one.
pub fn audit_head_key(company: CompanyId, time: Timestamp) -> String {
    let before_the_end = 9_999_999_999_999_i64.saturating_sub(time.0);
    format!("{}{before_the_end:013}.json", audit_heads_prefix(company))
}

/// Returns the prefix of the quarantine keys of an upload.
pub fn quarantine_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{QUARANTINE}{company}/{upload}/")
}

/// Returns the beginning of an upload's object keys. Only Waybill writes to these objects, or a client into an open
/// multipart upload. All ids have the same length, so that no key of another upload has this beginning.
pub fn objects_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{OBJECTS}{company}/{upload}")
}

/// Returns the key of an object of an upload. Stores that keep folders have one folder per company and not per file,
/// because a folder costs them as much as a small file.
pub fn object_key(company: CompanyId, upload: UploadId, name: impl Display) -> String {
    format!("{}-{name}", objects_prefix(company, upload))
}

/// Returns the company and the upload of a key `PREFIX{company}/{upload}/{name}` or `PREFIX{company}/{upload}-{name}`.
pub fn owner(prefix: &str, key: &str) -> Option<(CompanyId, UploadId)> {
    /// Number of characters of an id in a key.
    const ID_LENGTH: usize = 36;
    let (company, rest) = key.strip_prefix(prefix)?.split_once('/')?;
    let (upload, name) = rest.split_at_checked(ID_LENGTH)?;
    let owner = (company.parse().ok()?, upload.parse().ok()?);
    let name = name.strip_prefix(['-', '/'])?;
    let is_ours = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_ours.then_some(owner)
}

/// End of the keys of compressed objects.
const COMPRESSED: &str = "-zst";

/// Returns the key of a compressed object of an upload.
pub fn compressed_key(company: CompanyId, upload: UploadId, id: Uuid) -> String {
    object_key(company, upload, format_args!("{}{COMPRESSED}", id.simple()))
}

/// Returns the id of a compressed object; `None` if the object of a file with this key is not compressed.
pub fn compressed_id(key: &str) -> Option<Uuid> {
    let key = key.strip_suffix(COLD).unwrap_or(key);
    let (_, id) = key.strip_prefix(OBJECTS)?.strip_suffix(COMPRESSED)?.rsplit_once('-')?;
    Uuid::try_parse(id).ok()
}

/// Returns `true` if the object of a file with this key is compressed.
pub fn is_compressed(key: &str) -> bool {
    compressed_id(key).is_some()
}

/// End of the keys of objects in the cold bucket.
const COLD: &str = "-cold";

/// Returns `true` if the object with this key is in the cold bucket.
pub fn is_cold(key: &str) -> bool {
    key.starts_with(OBJECTS) && key.ends_with(COLD)
}

/// Returns the key of a new object, in the cold bucket or not, with the bytes of the object `of` of an upload.
pub fn moved_key(company: CompanyId, upload: UploadId, id: Uuid, of: &str, to_cold: bool) -> String {
    let compressed = if is_compressed(of) { COMPRESSED } else { "" };
    let cold = if to_cold { COLD } else { "" };
    object_key(company, upload, format_args!("{}{compressed}{cold}", id.simple()))
}

/// Returns the key of a preview of a file.
pub fn variant_key(company: CompanyId, file: FileId, set: PreviewSet, variant: Variant) -> String {
    format!("{VARIANTS}{company}/{file}-{}-{}", set.simple(), variant.as_str())
}

/// Returns the prefix of the keys of the staged objects of an upload.
pub fn staging_prefix(company: CompanyId, upload: UploadId) -> String {
    format!("{STAGING}{company}/{upload}/")
}

/// Returns the key of the SHA-256 midstate of an upload.
pub fn midstate_key(upload: UploadId) -> String {
    upload.to_string()
}

/// Returns the key of the snapshot of an aggregate.
pub fn snapshot_key(subject: Subject) -> String {
    subject.to_string()
}

/// Returns the key of one piece of a snapshot. There are two sets of pieces. The value under the key of the snapshot
/// names the current set.
pub fn snapshot_piece_key(subject: Subject, set: u8, piece: u32) -> String {
    format!("{subject}.{set}.{piece}")
}
