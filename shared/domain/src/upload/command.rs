//! Commands to an upload.

use crate::media_type::TypePolicy;
use waybill_schema::ErrorCode;
use waybill_schema::events::{
    ChunkUploaded, FileUploaded, MultipartOpened, PartAssembled, QuarantineCopied, UploadStarted,
};
use waybill_schema::{Sha256Digest, Timestamp, UploadId};

/// Result of the verification of the completed object by a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate.
    pub sniffed_mime_type: Option<String>,
    /// `true` if the worker read the object to compute the digest.
    pub read_back: bool,
    /// CRC-32 (ISO-HDLC) of the stored object.
    pub crc32: Option<u32>,
}

/// Command to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start the upload.
    Start(UploadStarted),
    /// Set the length that was deferred.
    SetLength {
        /// Size of the whole file in bytes.
        size_bytes: u64,
    },
    /// Make the partial upload part of a final upload.
    Claim {
        /// The final upload.
        into: UploadId,
    },
    /// Record a presigned URL with which a client can create an object under the quarantine key.
    SignQuarantine {
        /// Time at which the URL expires.
        until: Timestamp,
    },
    /// Record that the objects were deleted that were written to the quarantine key after the end of the upload.
    ClearQuarantine {
        /// URLs that expired at this time or earlier can no longer be used.
        ended_by: Timestamp,
    },
    /// Record that the object under the quarantine key was copied.
    CopyQuarantine(QuarantineCopied),
    /// Record an upload whose whole file was stored and verified in one request.
    UploadWhole(FileUploaded),
    /// Record that a multipart upload was opened in the object store.
    OpenMultipart(MultipartOpened),
    /// Record that a range of bytes was stored.
    RecordChunk(ChunkUploaded),
    /// Record that staged objects were assembled into a part.
    RecordAssembly(PartAssembled),
    /// Complete the upload: the client has sent all bytes.
    Complete {
        /// SHA-256 of the file as the client declares it.
        declared_sha256: Option<Sha256Digest>,
        /// Current time.
        now: Timestamp,
    },
    /// Accept or reject the file after its verification.
    Verify {
        /// Result of the verification.
        found: Verification,
        /// Accepted types.
        policy: TypePolicy,
    },
    /// Reject the file.
    Reject {
        /// Stable error code.
        code: ErrorCode,
        /// Reason, for people.
        message: String,
    },
    /// Cancel the upload.
    Cancel,
    /// Expire the upload if its time is over.
    Expire {
        /// Current time.
        now: Timestamp,
    },
}
