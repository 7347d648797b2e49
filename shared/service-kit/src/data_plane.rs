//! The way of bytes from a gateway to a worker: what is asked and what is answered, however they are connected.
//!
//! Gateways and workers of different processes talk HTTP; `waybill serve all` has both in one process, where a body is
//! handed over as it is, without a second trip through the kernel.

use crate::{Checksum, Problem, RequestId};
use actix_web::dev::Payload;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use waybill_schema::events::UploadStartedV2;
use waybill_schema::{ByteRange, CompanyId, Position, Sha256Digest, UploadId, UserId, WorkerId};

/// How long a worker keeps an idle connection of a gateway. A worker that stops waits for it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Tells a worker what is said of a whole file: base64url of [`UploadStartedV2`] as JSON.
pub const STARTED_HEADER: &str = "Waybill-Started";

/// An answer that comes later, on the same thread: bodies of actix-web do not leave theirs.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + 'a>>;

/// A run of bytes of an upload.
#[derive(Clone, Debug)]
pub struct PutBytes {
    /// Whose upload.
    pub company: CompanyId,
    /// Which.
    pub upload: UploadId,
    /// Who sends the bytes.
    pub user: UserId,
    /// Which bytes of the file the body may bring; it may bring fewer.
    pub range: ByteRange,
    /// The checksum of the body: where it is another, none of the body counts.
    pub checksum: Option<Checksum>,
    /// Whether the bytes must begin at the upload's offset, and whether a newer request for the upload ends this one.
    pub sequential: bool,
    /// How many bytes the body has, where the client said so.
    pub content_length: Option<u64>,
    /// The client's request.
    pub request: RequestId,
}

/// What became of a run of bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredBytes {
    /// How many the body brought. All are stored.
    pub received_bytes: u64,
    /// The upload's contiguous prefix.
    pub offset_bytes: u64,
    /// The last event that this rests on, `{partition}:{sequence}`.
    pub position: String,
}

/// A whole file, no larger than a part, whose space is reserved and whose upload has not started.
#[derive(Clone, Debug)]
pub struct PutWhole {
    /// Which upload it is.
    pub upload: UploadId,
    /// What is said of it; how many bytes the body must have, and which digest, where the client said so.
    pub start: UploadStartedV2,
    /// The reservation.
    pub reserved: Position,
    /// The client's request.
    pub request: RequestId,
}

/// What became of a whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredWhole {
    /// It is stored, and no event says so yet.
    File(StoredFile),
    /// It came too slowly to be held in memory, so the worker started its upload. All of its bytes are stored.
    Begun(StoredBytes),
}

/// A file that was stored. The gateway makes the event of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredFile {
    /// The digest of what is stored.
    pub sha256: Sha256Digest,
    /// The bucket.
    pub storage_bucket: String,
    /// The object.
    pub storage_key: String,
    /// The type by content, where it can be told.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote it.
    pub worker_id: WorkerId,
}

/// Takes bytes for the object store.
pub trait DataPlane: Send + Sync {
    /// Stores a run of bytes. Every byte that arrived is stored when it answers, unless the problem says otherwise.
    fn put_bytes(&self, request: PutBytes, body: Payload) -> Answer<'_, StoredBytes>;

    /// Stores a whole file. Unless the upload was started, nothing is stored that is not as expected.
    fn put_whole(&self, request: PutWhole, body: Payload) -> Answer<'_, StoredWhole>;
}
