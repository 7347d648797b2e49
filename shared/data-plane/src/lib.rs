//! The data plane: requests and answers between a gateway and a worker.
//!
//! Gateways and workers in different processes use HTTP. In `waybill serve all` both run in one process, and the
//! gateway passes the body to the worker directly.

pub mod checksum;
mod refusal;
pub mod signature;

pub use checksum::Checksum;
pub use refusal::refused;

use actix_web::dev::Payload;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use waybill_http_kit::{Problem, RequestId};
use waybill_schema::events::UploadStarted;
use waybill_schema::{ByteRange, CompanyId, LinkId, Position, Sha256Digest, UploadId, UserId, WorkerId};

/// Time after which a worker closes an idle connection of a gateway. A worker that stops waits for this time.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Header with the address of the gateway's client.
pub const CLIENT_ADDRESS_HEADER: &str = "waybill-client-address";

/// Header with the description of a whole file: [`UploadStarted`] as JSON in base64url.
pub const STARTED_HEADER: &str = "waybill-started";

/// Future of an answer. It is not `Send`, because bodies of actix-web stay on their thread.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + 'a>>;

/// Request to store a range of an upload.
#[derive(Clone, Debug)]
pub struct PutBytes {
    /// The company of the upload.
    pub company: CompanyId,
    /// The upload.
    pub upload: UploadId,
    /// The user who sends the bytes.
    pub user: UserId,
    /// The upload link with which the bytes are sent.
    pub link: Option<LinkId>,
    /// The bytes of the file that the body may contain. It may contain fewer.
    pub range: ByteRange,
    /// The expected checksum of the body. If the body has a different one, none of its bytes are recorded.
    pub checksum: Option<Checksum>,
    /// If `true`, the bytes must begin at the offset of the upload, and a newer request for the upload takes over.
    pub sequential: bool,
    /// Length of the body, if the client sent it.
    pub content_length: Option<u64>,
    /// The request of the client.
    pub request: RequestId,
}

/// Answer to [`PutBytes`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredBytes {
    /// Number of bytes that the body contained. All of them are stored.
    pub received_bytes: u64,
    /// The offset of the upload after this request.
    pub offset_bytes: u64,
    /// Position of the last event on which the answer is based, as `{partition}:{sequence}`.
    pub position: String,
}

/// Request to store a whole file that is not larger than a part. Its bytes are reserved, and its upload has not
/// started.
#[derive(Clone, Debug)]
pub struct PutWhole {
    /// Id of the upload.
    pub upload: UploadId,
    /// Description of the file, with the required size and, if the client sent it, the required digest.
    pub start: UploadStarted,
    /// Position of the reservation.
    pub reserved: Position,
    /// The request of the client.
    pub request: RequestId,
}

/// Answer to [`PutWhole`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredWhole {
    /// The file is stored, but no event records it yet.
    File(StoredFile),
    /// The body arrived too slowly to be kept in memory, so the worker started the upload. All of its bytes are stored.
    Begun(StoredBytes),
}

/// A stored file. The gateway appends the event for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StoredFile {
    /// Digest of the stored bytes.
    pub sha256: Sha256Digest,
    /// Bucket of the object.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Media type that was detected from the content, if any.
    pub sniffed_mime_type: Option<String>,
    /// The worker that wrote it.
    pub worker_id: WorkerId,
    /// CRC-32 (ISO-HDLC) of the stored bytes. Workers of earlier versions do not send it.
    #[serde(default)]
    pub crc32: Option<u32>,
}

/// Stores bytes in the object store.
pub trait DataPlane: Send + Sync {
    /// Stores a range of an upload. When it answers, every byte that arrived is stored, unless the problem says
    /// otherwise.
    fn put_bytes(&self, request: PutBytes, body: Payload) -> Answer<'_, StoredBytes>;

    /// Stores a whole file. If its size or digest is wrong, nothing is stored, unless the upload was started.
    fn put_whole(&self, request: PutWhole, body: Payload) -> Answer<'_, StoredWhole>;
}
