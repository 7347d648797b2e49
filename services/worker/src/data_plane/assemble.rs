//! Stages ranges that are smaller than a part as objects of their own, and assembles them when they cover a part.

use super::budget::{MemoryPermit, Owner};
use super::buffer::{FilledPart, PartBuffer};
use super::incoming::{Staged, still_takes};
use super::part::{InHand, Recorded, open_multipart, record_part, write_part};
use super::{OpenUpload, PlaneError};
use crate::metrics::STORED_BYTES;
use crate::{Worker, keys};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Known};
use waybill_object_store::StoreError;
use waybill_repository::{Context, ExecuteError};
use waybill_schema::ByteRange;
use waybill_schema::ErrorCode;
use waybill_schema::events::{ChunkStorage, ChunkUploaded, PartAssembled};

/// Number of staged pieces that are read in parallel.
const AT_ONCE: usize = 4;
/// Number of staged objects that are deleted with one request: the maximum of S3.
const DELETED_AT_ONCE: usize = 1_000;

/// Stages the range at `offset` and records it in the log.
pub(super) async fn stage_range(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    offset: u64,
    filled: FilledPart,
) -> Result<(), PlaneError> {
    let staged = put_staged(worker, upload, offset, filled.bytes.clone(), filled.crc64nvme).await?;
    record_staged(worker, upload, context, staged, Some(filled.bytes)).await
}

/// Writes the range at `offset` to a staged object.
pub(super) async fn put_staged(
    worker: &Worker,
    upload: &OpenUpload,
    offset: u64,
    bytes: Bytes,
    crc64nvme: u64,
) -> Result<Staged, PlaneError> {
    let length = bytes.len() as u64;
    let storage_key = keys::new_staged(upload.aggregate.company, upload.aggregate.upload, offset);
    let etag = worker.store.put(&storage_key, bytes, crc64nvme).await?;
    STORED_BYTES.inc_by(length);
    Ok(Staged { offset, storage_key, length, crc64nvme, etag })
}

/// Records a staged range in the log. If another request has stored bytes of this range in the meantime, they must be
/// the same. If `bytes` is `None`, the range is read back for this comparison.
pub(super) async fn record_staged(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    staged: Staged,
    bytes: Option<Bytes>,
) -> Result<(), PlaneError> {
    let Staged { offset, storage_key: key, length, crc64nvme, etag } = staged;
    let chunk = ChunkUploaded {
        offset,
        length,
        crc64nvme,
        etag,
        storage: ChunkStorage::Staged { storage_key: key.clone() },
        worker_id: worker.id,
        store_writes: 1,
    };
    let mut loaded = upload.loaded.lock().await;
    let command = Command::RecordChunk(chunk);
    let done = worker.repository.execute_from(&upload.aggregate, &mut loaded, command, context).await;
    let range = ByteRange::at(offset, length);
    let part_number = loaded.state.grid().part_at(offset);
    // The staged object is not needed if another request was faster or the upload has ended. After any other error, the
    // log may refer to the object although this command returned no event.
    let unneeded = matches!(done, Ok(_) | Err(ExecuteError::Refused(_)))
        && loaded.state.pieces_of(part_number).iter().all(|piece| piece.storage_key != key);
    let taken = still_takes(&loaded.state, range);
    let mut others = loaded.state.known_in(range);
    others.retain(|known| match known {
        Known::Checksum { range: known, .. } => unneeded || *known != range,
        Known::Staged(piece) => piece.storage_key != key,
        Known::Hidden(_) => true,
    });
    drop(loaded);
    let is_acknowledged = done.is_ok() && taken.is_ok();
    let compared = if is_acknowledged && !others.is_empty() {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => worker.store.get(&key, 0, None).await?.collect().await?,
        };
        InHand { offset, bytes: &bytes, crc64nvme }.compare(worker, others).await
    } else {
        Ok(())
    };
    if unneeded {
        worker.delete(&key).await?;
    }
    done?;
    taken?;
    compared
}

/// Rejects the upload, because the store has lost bytes that were acknowledged.
async fn lost(worker: &Worker, upload: &OpenUpload, context: &Context) -> PlaneError {
    tracing::error!(upload_id = %upload.aggregate.upload, "a staged object is missing in the store");
    let message = "the store has lost bytes of the upload; upload the file again".to_owned();
    let command = Command::Reject { code: ErrorCode::PartsLost, message };
    let mut loaded = upload.loaded.lock().await;
    match worker.repository.execute_from(&upload.aggregate, &mut loaded, command, context).await {
        Ok(_) => Refusal::UploadEnded { status: "rejected" }.into(),
        Err(error) => error.into(),
    }
}

/// Assembles the staged pieces of a part if they cover the part and it is not assembled yet. The caller must hold the
/// lease of the part. A caller that holds memory must pass it as `permit`, so that it does not hold memory while it waits
/// for more.
pub(crate) async fn assemble_part(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    part_number: u32,
    permit: Option<MemoryPermit>,
) -> Result<(), PlaneError> {
    let (pieces, part, due) = {
        let loaded = upload.loaded.lock().await;
        let due = loaded.state.parts_to_assemble().contains(&part_number);
        (loaded.state.pieces_of(part_number), loaded.state.grid().part(part_number), due)
    };
    if !due {
        return Ok(());
    }
    let _room = match permit {
        Some(mut permit) => {
            worker.budget.grow(&mut permit, part.len()).await?;
            permit
        }
        None => worker.budget.take(Owner { company: upload.aggregate.company, user: None }, part.len()).await?,
    };
    let ahead = upload.hash().ahead(part_number);
    let mut buffer = PartBuffer::new(part.len(), ahead);
    // Several reads are started before their bodies are read, to hide the latency of a distant store.
    let store = worker.store.clone();
    let reads = pieces.clone().into_iter().map(move |piece| {
        let store = store.clone();
        async move { store.get(&piece.storage_key, piece.object_offset, Some(piece.range.len())).await }
    });
    let mut reads = stream::iter(reads).buffered(AT_ONCE);
    while let Some(read) = reads.next().await {
        let mut body = match read {
            Err(StoreError::NotFound { .. }) => return Err(lost(worker, upload, context).await),
            read => read?,
        };
        while let Some(bytes) = body.bytes.next().await {
            buffer.push(&bytes?);
        }
    }
    if buffer.len() != part.len() {
        return Err(StoreError::NotFound { operation: "assembling a part" }.into());
    }
    let filled = buffer.finish();
    let multipart = open_multipart(worker, upload, context).await?;
    let (etag, store_writes) = write_part(worker, &multipart, part_number, &filled.bytes, filled.crc64nvme).await?;
    let assembled = PartAssembled {
        part_number,
        length: part.len(),
        crc64nvme: filled.crc64nvme,
        etag,
        worker_id: worker.id,
        store_writes,
    };
    record_part(worker, upload, context, Recorded::Assembled(assembled), part_number, filled).await?;
    // Not earlier: until the event is appended, only the staged objects hold the acknowledged bytes.
    let keys: Vec<String> = pieces.into_iter().map(|piece| piece.storage_key).collect();
    for keys in keys.chunks(DELETED_AT_ONCE) {
        worker.delete_many(keys).await?;
    }
    Ok(())
}
