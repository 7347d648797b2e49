//! Stores a whole file that arrives in one request and is no larger than a part: one object, no multipart upload. A
//! file that arrives slowly stays in memory only for a short time. Then the worker starts an upload and stores the
//! bytes like those of any other upload.

use super::budget::Owner;
use super::buffer::{FilledPart, PartBuffer};
use super::incoming::IncomingRange;
use super::ingest::ingest;
use super::{Eviction, PlaneError};
use crate::file_hash::FileDigests;
use crate::hashing::SpeculativeDigest;
use crate::metrics::{RECEIVED_BYTES, STORED_BYTES};
use crate::{Worker, keys, links, sniff};
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::time::Duration;
use tokio::time::Instant;
use waybill_data_plane::{PutWhole, StoredBytes, StoredFile, StoredWhole};
use waybill_domain::media_type::Claim;
use waybill_domain::upload::{Command, Phase};
use waybill_repository::{Context, LifecycleAggregate, UploadAggregate};
use waybill_schema::{Actor, ByteRange, Causation};
use waybill_service_kit::now;

/// Maximum pause of a body that is held in memory.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum time for which a body is held in memory.
const HELD: Duration = Duration::from_secs(15);

/// If a request takes longer than this, the worker checks, after it has stored the object, if the upload has ended in
/// the meantime. No gateway gives up on a worker sooner.
const PROMPT: Duration = Duration::from_secs(1);

/// How a body was read.
enum Read {
    /// The body is complete.
    Whole,
    /// The body arrives too slowly, or there is no memory for it now.
    Slow,
}

/// Stores a file. Stores nothing if its length, digest or media type is not as expected.
pub(super) async fn store_whole(
    worker: &Worker,
    request: &PutWhole,
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredWhole, PlaneError> {
    let started = &request.start.started;
    let owner = Owner { company: started.company_id, user: Some(started.uploaded_by) };
    let mut permit = worker.budget.begin(owner, started.size_bytes).await?;
    let mut buffer = PartBuffer::new(started.size_bytes, Some(SpeculativeDigest::from_start()));
    let began = Instant::now();
    let until = began + HELD;
    let read = loop {
        let patience = PAUSE.min(until.saturating_duration_since(Instant::now()));
        match tokio::time::timeout(patience, body.next()).await {
            Err(_) => break Read::Slow,
            Ok(None) => break Read::Whole,
            Ok(Some(bytes)) => {
                let bytes = bytes.map_err(|_| PlaneError::Broken)?;
                if buffer.len() + bytes.len() as u64 > started.size_bytes {
                    return Err(PlaneError::BodyTooLong { allowed_bytes: started.size_bytes });
                }
                RECEIVED_BYTES.inc_by(bytes.len() as u64);
                buffer.push(&bytes);
            }
        }
        let is_enough = worker.budget.is_enough(&permit, buffer.len() + 1);
        let (size_bytes, received) = (started.size_bytes, buffer.len());
        if !is_enough && worker.budget.grow_for(&mut permit, size_bytes, received, began.elapsed()).await.is_err() {
            break Read::Slow;
        }
    };
    // The uploader may have been removed from the chatroom or thread. The verification of an ordinary upload checks it.
    let is_delivery = started.chatroom_id.is_some() || started.thread_id.is_some();
    let is_complete = started.size_bytes > 0 && buffer.len() == started.size_bytes;
    let read = match read {
        Read::Whole if is_delivery && is_complete && began.elapsed() > PROMPT => Read::Slow,
        read => read,
    };
    let filled = buffer.finish();
    match read {
        Read::Slow => {
            drop(permit);
            begin(worker, request, filled.bytes, body).await.map(StoredWhole::Begun)
        }
        Read::Whole if filled.bytes.len() as u64 != started.size_bytes => Err(PlaneError::Broken),
        Read::Whole => {
            let stored = put(worker, request, filled).await?;
            // An empty file is always checked: a gateway can ask another worker at any time, because it has no bytes to
            // lose.
            if began.elapsed() > PROMPT || started.size_bytes == 0 {
                delete_if_late(worker, request, &stored).await;
            }
            Ok(StoredWhole::File(stored))
        }
    }
}

/// Stores a file whose bytes are all in memory.
async fn put(worker: &Worker, request: &PutWhole, filled: FilledPart) -> Result<StoredFile, PlaneError> {
    let started = &request.start.started;
    let digests = filled.ahead.map(SpeculativeDigest::digests).ok_or(PlaneError::Broken)?;
    let FileDigests { sha256, crc32 } = digests;
    if started.declared_sha256.is_some_and(|declared| declared != sha256) {
        return Err(PlaneError::DigestMismatch);
    }
    let sniffed_mime_type = sniff::of_bytes(&filled.bytes);
    let claim = Claim { name: &started.original_name, mime_type: &started.mime_type };
    let types = links::types::<PlaneError>(worker, started.company_id, request.start.link_id).await?;
    types.check_content(claim, sniffed_mime_type.as_deref())?;
    let storage_key = keys::new_object(started.company_id, request.upload);
    STORED_BYTES.inc_by(filled.bytes.len() as u64);
    worker.store.put(&storage_key, filled.bytes, filled.crc64nvme).await?;
    Ok(StoredFile {
        sha256,
        storage_bucket: worker.store.bucket().to_owned(),
        storage_key,
        sniffed_mime_type,
        worker_id: worker.id,
        crc32: Some(crc32),
    })
}

/// Deletes an object that was stored too late: its upload has ended without it. No event can refer to
/// this object any more, so no other process would find and delete it. The answer to the gateway does not change: if
/// the gateway is still there, it finds the same in the log.
async fn delete_if_late(worker: &Worker, request: &PutWhole, stored: &StoredFile) {
    let (upload, company) = (request.upload, request.start.started.company_id);
    let aggregate = LifecycleAggregate(UploadAggregate { company, upload });
    let state = match worker.repository.load(&aggregate).await {
        Ok(loaded) => loaded.state,
        Err(error) => {
            tracing::warn!(upload_id = %upload, %error, "cannot check if an object was stored too late");
            return;
        }
    };
    let is_its_own = matches!(&state.phase, Phase::Verified { storage_key, .. } if *storage_key == stored.storage_key);
    if !state.has_ended() || is_its_own {
        return;
    }
    match worker.delete(&stored.storage_key).await {
        Ok(_) => tracing::info!(upload_id = %upload, "deleted an object that was stored too late"),
        Err(error) => tracing::warn!(upload_id = %upload, %error, "cannot delete an object that was stored too late"),
    }
}

/// Starts an upload and stores its bytes as for any other upload, so that all bytes that the client sends are kept.
async fn begin(
    worker: &Worker,
    request: &PutWhole,
    first: Bytes,
    rest: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<StoredBytes, PlaneError> {
    let (upload, started) = (request.upload, &request.start.started);
    let aggregate = UploadAggregate { company: started.company_id, upload };
    let context = |causation| Context {
        actor: Actor::of_sender(started.uploaded_by, request.start.link_id),
        causation,
        address: request.request.address,
        clock: now,
    };
    tracing::info!(upload_id = %upload, received_bytes = first.len(), "a file arrives slowly; its upload is started");
    let start = Command::Start(request.start.clone());
    let caused = context(Causation::Event(request.reserved));
    worker.repository.execute(&aggregate, start, &caused).await?;
    let open = worker.uploads.open_current(started.company_id, upload).await?;
    let incoming = IncomingRange {
        range: ByteRange { from: 0, to: started.size_bytes },
        checksum: None,
        sequential: false,
        eviction: Eviction::default(),
    };
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let caused = context(request.request.causation());
    ingest(worker, &open, &caused, &incoming, first.chain(rest)).await
}
