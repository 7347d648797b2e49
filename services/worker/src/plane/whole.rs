//! A whole file in one request, no larger than a part: one object, no multipart upload.

use super::PlaneError;
use super::buffer::PartBuffer;
use crate::hashing::Ahead;
use crate::{Worker, keys, sniff};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::time::Duration;
use waybill_schema::{CompanyId, Sha256Digest, UploadId};
use waybill_service_kit::data_plane::StoredFile;
use waybill_service_kit::metrics::{RECEIVED_BYTES, STORED_BYTES};

/// How long a body may take, besides what its size takes at [`SLOWEST_BYTES_PER_S`]: it holds memory meanwhile.
const STALL: Duration = Duration::from_secs(15);
const SLOWEST_BYTES_PER_S: u64 = 128 * 1_024;

/// What a whole file must be.
pub(super) struct Expected {
    /// Bytes.
    pub(super) size_bytes: u64,
    /// The digest that the client says it has.
    pub(super) sha256: Option<Sha256Digest>,
}

/// Puts a file into the store; nothing is stored unless it is as expected.
pub(super) async fn store_whole(
    worker: &Worker,
    company: CompanyId,
    upload: UploadId,
    expected: &Expected,
    mut stream: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredFile, PlaneError> {
    let _room = worker.budget.take(company, expected.size_bytes).await?;
    let mut buffer = PartBuffer::new(expected.size_bytes, Some(Ahead::from_start()));
    let slowest = Duration::from_secs(expected.size_bytes / SLOWEST_BYTES_PER_S);
    let deadline = tokio::time::Instant::now() + STALL + slowest;
    while let Some(bytes) = tokio::time::timeout_at(deadline, stream.next()).await.map_err(|_| PlaneError::Broken)? {
        let bytes = bytes.map_err(|_| PlaneError::Broken)?;
        if buffer.len() + bytes.len() as u64 > expected.size_bytes {
            return Err(PlaneError::BodyTooLong { allowed_bytes: expected.size_bytes });
        }
        RECEIVED_BYTES.inc_by(bytes.len() as u64);
        buffer.push(&bytes);
    }
    if buffer.len() != expected.size_bytes {
        return Err(PlaneError::Broken);
    }
    let filled = buffer.finish();
    let sha256 = filled.ahead.map(Ahead::digest).ok_or(PlaneError::Broken)?;
    if expected.sha256.is_some_and(|expected| expected != sha256) {
        return Err(PlaneError::DigestMismatch);
    }
    let head = filled.bytes.slice(..filled.bytes.len().min(usize::try_from(sniff::HEAD_BYTES).unwrap_or(0)));
    let sniffed_mime_type = sniff::mime_type(&head);
    if let Some(sniffed) = &sniffed_mime_type {
        worker.policies.types(company).await?.check(sniffed)?;
    }
    let storage_key = keys::new_object(company, upload);
    STORED_BYTES.inc_by(filled.bytes.len() as u64);
    worker.store.put(&storage_key, filled.bytes, filled.crc64nvme).await?;
    Ok(StoredFile {
        sha256,
        storage_bucket: worker.store.bucket().to_owned(),
        storage_key,
        sniffed_mime_type,
        worker_id: worker.id,
    })
}
