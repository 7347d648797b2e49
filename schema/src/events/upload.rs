//! Events of an upload: `upload.{id}.lc` (lifecycle) and `upload.{id}.ch` (stored bytes).

use crate::events::UploadEvent;
use crate::{ChatroomId, CompanyId, Event, SessionId, Sha256Digest, ThreadId, Timestamp, UploadId, UserId, WorkerId};
use serde::{Deserialize, Serialize};

/// An upload was accepted, as said before there was more than one kind; and what all kinds say of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV1 {
    /// The tenant.
    pub company_id: CompanyId,
    /// Who uploads.
    pub uploaded_by: UserId,
    /// The session that it belongs to.
    pub session_id: Option<SessionId>,
    /// The chatroom that it is meant for.
    pub chatroom_id: Option<ChatroomId>,
    /// The thread that it is meant for.
    pub thread_id: Option<ThreadId>,
    /// The client's file name: at most 255 bytes, no path characters.
    pub original_name: String,
    /// The declared MIME type.
    pub mime_type: String,
    /// Bytes of the whole file.
    pub size_bytes: u64,
    /// What the client says the file's SHA-256 is.
    pub declared_sha256: Option<Sha256Digest>,
    /// The client's metadata: a JSON object as text.
    pub metadata: Option<String>,
    /// Bytes of every part but the last; fixed for the upload's life.
    pub part_size_bytes: u64,
    /// When the upload ends unless it was completed.
    pub expires_at: Timestamp,
}

/// What an upload is to become.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadKind {
    /// A file; its bytes come through the gateway.
    #[default]
    File,
    /// A piece of a later file; never a file of its own (tus 1.0, Concatenation).
    Partial,
    /// A file that is made of partial uploads, in this order.
    Final {
        /// Which.
        partials: Vec<UploadId>,
        /// The `Upload-Concat` header as the client sent it, to be given back.
        upload_concat: String,
    },
    /// A file whose parts the client puts into the store by itself, by presigned URLs for each.
    Direct,
    /// A file that the client puts into the store by itself, completion included: to a key that is not the file's, from
    /// which a worker takes it over.
    Quarantine {
        /// The key that the client writes to.
        quarantine_key: String,
    },
}

/// An upload was accepted; its space was reserved before. The first event of its lifecycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadStartedV2 {
    /// What is said of the file. Where the length is deferred, `size_bytes` is what it may have at most.
    pub started: UploadStartedV1,
    /// Whether the length comes later, with [`UploadLengthSetV1`].
    pub length_deferred: bool,
    /// What it is to become.
    pub kind: UploadKind,
    /// The `Upload-Metadata` header as the client sent it, to be given back.
    pub upload_metadata: Option<String>,
}

impl From<UploadStartedV1> for UploadStartedV2 {
    fn from(started: UploadStartedV1) -> Self {
        Self { started, length_deferred: false, kind: UploadKind::File, upload_metadata: None }
    }
}

impl From<UploadStartedV1> for UploadEvent {
    fn from(started: UploadStartedV1) -> Self {
        UploadStartedV2::from(started).into()
    }
}

impl From<UploadStartedV1> for Event {
    fn from(started: UploadStartedV1) -> Self {
        UploadEvent::from(started).into()
    }
}

/// The length that was deferred at the start is known now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadLengthSetV1 {
    /// Bytes of the whole file.
    pub size_bytes: u64,
}

/// A partial upload became part of a final one; it takes no more bytes, and can be claimed by no other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadConcatenatedV1 {
    /// The final upload.
    pub into: UploadId,
}

/// A client was given a URL by which it can make an object under the quarantine key; until `until` it may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineSignedV1 {
    /// When the URL ends.
    pub until: Timestamp,
}

/// The upload has ended, its URLs too, and what was written to the quarantine key behind its end is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineClearedV1 {}

/// The object under the quarantine key was copied to a key that no client can write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineCopiedV1 {
    /// The bucket.
    pub storage_bucket: String,
    /// The copy's key.
    pub storage_key: String,
    /// Bytes of the copy.
    pub size_bytes: u64,
    /// The worker that made it.
    pub worker_id: WorkerId,
}

/// A multipart upload was opened in the store. Appended at most once: who loses the race aborts its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartOpenedV1 {
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key; belongs to this attempt alone.
    pub storage_key: String,
    /// The store's id of the multipart upload.
    pub storage_upload_id: String,
    /// The worker that opened it.
    pub worker_id: WorkerId,
}

/// A multipart upload was opened in the store. Appended at most once: who loses the race aborts its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartOpenedV2 {
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key; belongs to this attempt alone.
    pub storage_key: String,
    /// The store's id of the multipart upload.
    pub storage_upload_id: String,
    /// The worker that opened it.
    pub worker_id: WorkerId,
    /// The algorithm of the parts' checksums, as `x-amz-checksum-algorithm` announced it: parts with others are refused
    /// by the store. `None` where nothing was announced.
    pub checksum_algorithm: Option<String>,
}

impl From<MultipartOpenedV1> for MultipartOpenedV2 {
    fn from(opened: MultipartOpenedV1) -> Self {
        let MultipartOpenedV1 { storage_bucket, storage_key, storage_upload_id, worker_id } = opened;
        Self { storage_bucket, storage_key, storage_upload_id, worker_id, checksum_algorithm: None }
    }
}

/// Where a run of bytes was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkStorage {
    /// As a part of the multipart upload.
    Part {
        /// From 1.
        part_number: u32,
    },
    /// As an immutable object of its own, until its part can be assembled.
    Staged {
        /// The staging object's key.
        storage_key: String,
    },
}

/// A run of bytes is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkUploadedV1 {
    /// Where in the file the run begins.
    pub offset: u64,
    /// How many bytes; never 0.
    pub length: u64,
    /// CRC-64/NVME of the run.
    pub crc64nvme: u64,
    /// What the store answered.
    pub etag: String,
    /// Where the bytes are.
    pub storage: ChunkStorage,
    /// The worker that wrote them.
    pub worker_id: WorkerId,
    /// How often the worker sent the run to the store; more than 1 where an answer was lost.
    pub store_writes: u32,
}

/// Staged runs that cover a part were joined into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAssembledV1 {
    /// From 1.
    pub part_number: u32,
    /// Bytes of the part.
    pub length: u64,
    /// CRC-64/NVME of the part.
    pub crc64nvme: u64,
    /// What the store answered.
    pub etag: String,
    /// The worker that wrote it.
    pub worker_id: WorkerId,
    /// How often the worker sent the part to the store.
    pub store_writes: u32,
}

/// The client says that it has sent everything, and every byte is there. No chunk is accepted afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCompletedV1 {
    /// What the client says the file's SHA-256 is; replaces what the start declared.
    pub declared_sha256: Option<Sha256Digest>,
}

/// The stored object's SHA-256 was checked; from here on the file can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileVerifiedV1 {
    /// The SHA-256 of what is stored.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// What the first bytes look like, where that is recognised.
    pub sniffed_mime_type: Option<String>,
    /// Whether the completed object was read back to find the digest.
    pub read_back: bool,
}

/// The file was refused after its bytes were there; they are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRejectedV1 {
    /// Stable code, as in docs/errors.md.
    pub code: String,
    /// What was wrong, for a person.
    pub message: String,
}

/// A whole file came in one request, as said before it could come with `Upload-Metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUploadedV1 {
    /// What an upload of several chunks says when it starts.
    pub started: UploadStartedV1,
    /// The SHA-256 of what is stored.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// What the first bytes look like, where that is recognised.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote it.
    pub worker_id: WorkerId,
}

/// A whole file came in one request: started, stored and verified at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUploadedV2 {
    /// What an upload of several chunks says when it starts.
    pub started: UploadStartedV1,
    /// The `Upload-Metadata` header as the client sent it, to be given back.
    pub upload_metadata: Option<String>,
    /// The SHA-256 of what is stored.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// What the first bytes look like, where that is recognised.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote it.
    pub worker_id: WorkerId,
}

impl From<FileUploadedV1> for FileUploadedV2 {
    fn from(uploaded: FileUploadedV1) -> Self {
        Self {
            started: uploaded.started,
            upload_metadata: None,
            sha256: uploaded.sha256,
            storage_bucket: uploaded.storage_bucket,
            storage_key: uploaded.storage_key,
            sniffed_mime_type: uploaded.sniffed_mime_type,
            worker_id: uploaded.worker_id,
        }
    }
}

/// Somebody ended the upload before it was complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadCancelledV1 {}

/// The upload was not continued in time, or its start never got further than the reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadExpiredV1 {}
