//! What can be asked of an upload.

use crate::media_type::TypePolicy;
use waybill_schema::events::{
    ChunkUploadedV1, FileUploadedV2, MultipartOpenedV2, PartAssembledV1, QuarantineCopiedV1, UploadStartedV2,
};
use waybill_schema::{Sha256Digest, Timestamp, UploadId};

/// What a worker found when it checked the completed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The digest of what is stored.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// What its first bytes look like.
    pub sniffed_mime_type: Option<String>,
    /// Whether the object was read back.
    pub read_back: bool,
}

/// A command to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin.
    Start(UploadStartedV2),
    /// The length that was deferred is known.
    SetLength {
        /// Bytes of the whole file.
        size_bytes: u64,
    },
    /// The partial upload becomes part of a final one.
    Claim {
        /// The final upload.
        into: UploadId,
    },
    /// A client gets a URL by which it can make an object under the quarantine key.
    SignQuarantine {
        /// When the URL ends.
        until: Timestamp,
    },
    /// What was written to the quarantine key behind the upload's end is deleted.
    ClearQuarantine {
        /// URLs that ended by then are used no more.
        ended_by: Timestamp,
    },
    /// The object under the quarantine key was copied.
    CopyQuarantine(QuarantineCopiedV1),
    /// Begin and end, with the whole file stored.
    UploadWhole(FileUploadedV2),
    /// A multipart upload was created in the store.
    OpenMultipart(MultipartOpenedV2),
    /// A run of bytes was stored.
    RecordChunk(ChunkUploadedV1),
    /// Staged runs were joined into a part.
    RecordAssembly(PartAssembledV1),
    /// The client has sent everything.
    Complete {
        /// What the file's digest shall be.
        declared_sha256: Option<Sha256Digest>,
        /// The time.
        now: Timestamp,
    },
    /// The object was checked.
    Verify {
        /// What was found.
        found: Verification,
        /// Which types are accepted.
        policy: TypePolicy,
    },
    /// What is stored is not what it should be.
    Reject {
        /// Stable code.
        code: &'static str,
        /// For a person.
        message: String,
    },
    /// The client gives up.
    Cancel,
    /// The time is up.
    Expire {
        /// The time.
        now: Timestamp,
    },
}
