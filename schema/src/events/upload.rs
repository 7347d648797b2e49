//! Events of an upload. Subjects: `upload.{id}.lc` (lifecycle) and `upload.{id}.ch` (stored bytes).

use super::upload_kinds::{ChunkStorage, UploadKind};
use crate::{ChatroomId, CompanyId, LinkId, SessionId, Sha256Digest, ThreadId, Timestamp, UploadId, UserId, WorkerId};
use serde::{Deserialize, Serialize};

/// An upload was accepted. Version 1 is older than the kinds of uploads. It is also the part of version 2 that all
/// kinds share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV1 {
    /// The company.
    pub company_id: CompanyId,
    /// The user that uploads the file.
    pub uploaded_by: UserId,
    /// The session that the upload belongs to.
    pub session_id: Option<SessionId>,
    /// The chatroom in which the file is to appear.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread in which the file is to appear.
    pub thread_id: Option<ThreadId>,
    /// File name from the client: at most 255 bytes, without path characters.
    pub original_name: String,
    /// The declared media type.
    pub mime_type: String,
    /// Size of the whole file in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the file as the client declared it.
    pub declared_sha256: Option<Sha256Digest>,
    /// Metadata from the client: a JSON object as text.
    pub metadata: Option<String>,
    /// Size in bytes of every part except the last. It never changes.
    pub part_size_bytes: u64,
    /// Time at which the upload expires if it is not complete.
    pub expires_at: Timestamp,
}

/// An upload was accepted. Version 2 is older than upload links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV2 {
    /// Description of the file. If the length is deferred, `size_bytes` is the maximum length.
    pub started: UploadStartedV1,
    /// `true` if the client sends the length later. [`UploadLengthSetV1`] then records it.
    pub length_deferred: bool,
    /// Kind of the upload.
    pub kind: UploadKind,
    /// The `Upload-Metadata` header from the client. Waybill returns it unchanged.
    pub upload_metadata: Option<String>,
}

/// An upload was accepted. The first event of its lifecycle. Its bytes were reserved before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV3 {
    /// Description of the file. If the length is deferred, `size_bytes` is the maximum length.
    pub started: UploadStartedV1,
    /// `true` if the client sends the length later. [`UploadLengthSetV1`] then records it.
    pub length_deferred: bool,
    /// Kind of the upload.
    pub kind: UploadKind,
    /// The `Upload-Metadata` header from the client. Waybill returns it unchanged.
    pub upload_metadata: Option<String>,
    /// The upload link with which the file is sent. Its owner is the user that uploads the file.
    pub link_id: Option<LinkId>,
}

impl From<UploadStartedV1> for UploadStartedV3 {
    fn from(started: UploadStartedV1) -> Self {
        Self { started, length_deferred: false, kind: UploadKind::File, upload_metadata: None, link_id: None }
    }
}

impl From<UploadStartedV2> for UploadStartedV3 {
    fn from(before: UploadStartedV2) -> Self {
        let UploadStartedV2 { started, length_deferred, kind, upload_metadata } = before;
        Self { started, length_deferred, kind, upload_metadata, link_id: None }
    }
}

/// The client sent the length that it had deferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLengthSetV1 {
    /// Size of the whole file in bytes.
    pub size_bytes: u64,
}

/// A partial upload became part of a final upload. It accepts no more bytes, and no other final upload can use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadConcatenatedV1 {
    /// The final upload.
    pub into: UploadId,
}

/// A client received a presigned URL that can create an object under the quarantine key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineSignedV1 {
    /// Time at which the URL expires. The object can appear until then.
    pub until: Timestamp,
}

/// The upload has ended and its URLs have expired. Objects that were written to the quarantine key after the end are
/// deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineClearedV1 {}

/// The object under the quarantine key was copied to a key that no client can write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineCopiedV1 {
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the copy.
    pub storage_key: String,
    /// Size of the copy in bytes.
    pub size_bytes: u64,
    /// The worker that made the copy.
    pub worker_id: WorkerId,
}

/// A multipart upload was opened in the object store. The event is appended at most once: a worker that loses the race
/// aborts its own multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartOpenedV1 {
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object. No other attempt uses it.
    pub storage_key: String,
    /// Id of the multipart upload in the object store.
    pub storage_upload_id: String,
    /// The worker that opened it.
    pub worker_id: WorkerId,
}

/// A multipart upload was opened in the object store. The event is appended at most once: a worker that loses the race
/// aborts its own multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartOpenedV2 {
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object. No other attempt uses it.
    pub storage_key: String,
    /// Id of the multipart upload in the object store.
    pub storage_upload_id: String,
    /// The worker that opened it.
    pub worker_id: WorkerId,
    /// Checksum algorithm of the parts, as `x-amz-checksum-algorithm` announced it to the store. The store refuses
    /// parts with another algorithm. `None` if no algorithm was announced.
    pub checksum_algorithm: Option<String>,
}

impl From<MultipartOpenedV1> for MultipartOpenedV2 {
    fn from(opened: MultipartOpenedV1) -> Self {
        let MultipartOpenedV1 { storage_bucket, storage_key, storage_upload_id, worker_id } = opened;
        Self { storage_bucket, storage_key, storage_upload_id, worker_id, checksum_algorithm: None }
    }
}

/// A range of bytes is in the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkUploadedV1 {
    /// Position of the first byte in the file.
    pub offset: u64,
    /// Number of bytes. Never 0.
    pub length: u64,
    /// CRC-64/NVME of the range.
    pub crc64nvme: u64,
    /// ETag from the object store.
    pub etag: String,
    /// Place of the bytes.
    pub storage: ChunkStorage,
    /// The worker that wrote the bytes.
    pub worker_id: WorkerId,
    /// Number of times that the worker sent the range to the store. It is more than 1 if a response was lost.
    pub store_writes: u32,
}

/// Staged objects that cover a part were assembled into the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAssembledV1 {
    /// Number of the part. The first is 1.
    pub part_number: u32,
    /// Size of the part in bytes.
    pub length: u64,
    /// CRC-64/NVME of the part.
    pub crc64nvme: u64,
    /// ETag from the object store.
    pub etag: String,
    /// The worker that wrote the part.
    pub worker_id: WorkerId,
    /// Number of times that the worker sent the part to the store.
    pub store_writes: u32,
}

/// The client stated that it has sent all bytes, and all bytes are stored. Later chunks are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCompletedV1 {
    /// SHA-256 of the file as the client declared it. It replaces the value from the start.
    pub declared_sha256: Option<Sha256Digest>,
}

/// The SHA-256 of the stored object was verified. Version 1 is older than the CRC-32.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVerifiedV1 {
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// `true` if the worker read the completed object to compute the digest.
    pub read_back: bool,
}

/// The SHA-256 of the stored object was verified. The file is now readable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVerifiedV2 {
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// `true` if the worker read the completed object to compute the digest.
    pub read_back: bool,
    /// CRC-32 (ISO-HDLC) of the stored object. Zip archives with the file contain it.
    pub crc32: Option<u32>,
}

impl From<FileVerifiedV1> for FileVerifiedV2 {
    fn from(verified: FileVerifiedV1) -> Self {
        let FileVerifiedV1 { sha256, storage_bucket, storage_key, sniffed_mime_type, read_back } = verified;
        Self { sha256, storage_bucket, storage_key, sniffed_mime_type, read_back, crc32: None }
    }
}

/// The file was rejected after its bytes were stored. The bytes are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRejectedV1 {
    /// Stable error code from docs/errors.md.
    pub code: String,
    /// Reason of the rejection, for people.
    pub message: String,
}

/// A whole file was uploaded in one request. Version 1 is older than the support of `Upload-Metadata` here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUploadedV1 {
    /// Description of the file, the same as at the start of an upload of several chunks.
    pub started: UploadStartedV1,
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote the object.
    pub worker_id: WorkerId,
}

/// A whole file was uploaded in one request. Version 2 is older than the CRC-32 and upload links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUploadedV2 {
    /// Description of the file, the same as at the start of an upload of several chunks.
    pub started: UploadStartedV1,
    /// The `Upload-Metadata` header from the client. Waybill returns it unchanged.
    pub upload_metadata: Option<String>,
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote the object.
    pub worker_id: WorkerId,
}

/// A whole file was uploaded in one request: it was started, stored and verified in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUploadedV3 {
    /// Description of the file, the same as at the start of an upload of several chunks.
    pub started: UploadStartedV1,
    /// The `Upload-Metadata` header from the client. Waybill returns it unchanged.
    pub upload_metadata: Option<String>,
    /// SHA-256 of the stored object.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that the first bytes indicate, if it was recognised.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote the object.
    pub worker_id: WorkerId,
    /// The upload link with which the file was sent. Its owner is the user that uploaded the file.
    pub link_id: Option<LinkId>,
    /// CRC-32 (ISO-HDLC) of the stored object. Zip archives with the file contain it.
    pub crc32: Option<u32>,
}

impl From<FileUploadedV1> for FileUploadedV3 {
    fn from(uploaded: FileUploadedV1) -> Self {
        let FileUploadedV1 { started, sha256, storage_bucket, storage_key, sniffed_mime_type, worker_id } = uploaded;
        FileUploadedV2 {
            started,
            upload_metadata: None,
            sha256,
            storage_bucket,
            storage_key,
            sniffed_mime_type,
            worker_id,
        }
        .into()
    }
}

impl From<FileUploadedV2> for FileUploadedV3 {
    fn from(uploaded: FileUploadedV2) -> Self {
        Self {
            started: uploaded.started,
            upload_metadata: uploaded.upload_metadata,
            sha256: uploaded.sha256,
            storage_bucket: uploaded.storage_bucket,
            storage_key: uploaded.storage_key,
            sniffed_mime_type: uploaded.sniffed_mime_type,
            worker_id: uploaded.worker_id,
            link_id: None,
            crc32: None,
        }
    }
}

/// The upload was cancelled before it was complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadCancelledV1 {}

/// The upload expired: it was not continued in time, or only its reservation exists because its start failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadExpiredV1 {}

aggregate_events! {
    /// Events of an upload, from its start to its verification.
    UploadEvent of Upload {
        UploadStarted, 3 => UploadStartedV3, before: 1 => UploadStartedV1, 2 => UploadStartedV2;
        UploadLengthSet, 1 => UploadLengthSetV1;
        UploadConcatenated, 1 => UploadConcatenatedV1;
        QuarantineSigned, 1 => QuarantineSignedV1;
        QuarantineCopied, 1 => QuarantineCopiedV1;
        QuarantineCleared, 1 => QuarantineClearedV1;
        MultipartOpened, 2 => MultipartOpenedV2, before: 1 => MultipartOpenedV1;
        ChunkUploaded, 1 => ChunkUploadedV1;
        PartAssembled, 1 => PartAssembledV1;
        FileCompleted, 1 => FileCompletedV1;
        FileVerified, 2 => FileVerifiedV2, before: 1 => FileVerifiedV1;
        FileRejected, 1 => FileRejectedV1;
        FileUploaded, 3 => FileUploadedV3, before: 1 => FileUploadedV1, 2 => FileUploadedV2;
        UploadCancelled, 1 => UploadCancelledV1;
        UploadExpired, 1 => UploadExpiredV1;
    }
}

/// Description of an upload at its start: the file, the uploader and the places.
pub use UploadStartedV1 as UploadDescription;

impl From<UploadStartedV1> for UploadEvent {
    fn from(started: UploadStartedV1) -> Self {
        UploadStartedV3::from(started).into()
    }
}
