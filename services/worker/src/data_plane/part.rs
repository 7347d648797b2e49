//! Writes parts to the store and records them in the log.

use super::buffer::FilledPart;
use super::incoming::still_takes;
use super::{OpenUpload, PlaneError};
use crate::{Worker, keys};
use bytes::Bytes;
use std::time::Duration;
use waybill_domain::upload::{Command, State};
use waybill_object_store::{Crc, StoreError};
use waybill_repository::{Context, execute};
use waybill_schema::events::{ChunkStorage, ChunkUploadedV1, MultipartOpenedV2, PartAssembledV1};
use waybill_service_kit::metrics::STORED_BYTES;

/// Maximum number of attempts to send a part to the store. After them, the client must try again.
const WRITES: u32 = 3;

/// Sends a whole part to the store. The part counts only after [`record_part`] has recorded it.
pub(super) async fn store_part(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    part_number: u32,
    filled: &FilledPart,
) -> Result<Recorded, PlaneError> {
    let (length, crc64nvme) = (filled.bytes.len() as u64, filled.crc64nvme);
    let multipart = open_multipart(worker, upload, context).await?;
    let (etag, store_writes) = write_part(worker, &multipart, part_number, &filled.bytes, crc64nvme).await?;
    Ok(Recorded::Chunk(ChunkUploadedV1 {
        offset: upload.loaded.lock().await.state.grid().part(part_number).from,
        length,
        crc64nvme,
        etag,
        storage: ChunkStorage::Part { part_number },
        worker_id: worker.id,
        store_writes,
    }))
}

/// Event data of a written part: either bytes of a request or an assembly of staged objects.
#[derive(Clone)]
pub(super) enum Recorded {
    Chunk(ChunkUploadedV1),
    Assembled(PartAssembledV1),
}

impl Recorded {
    fn command(self) -> Command {
        match self {
            Self::Chunk(chunk) => Command::RecordChunk(chunk),
            Self::Assembled(assembled) => Command::RecordAssembly(assembled),
        }
    }

    fn etag(&self) -> &str {
        match self {
            Self::Chunk(chunk) => &chunk.etag,
            Self::Assembled(assembled) => &assembled.etag,
        }
    }

    /// Returns the same data for a part that another writer has also written.
    fn again(self) -> Self {
        match self {
            Self::Chunk(chunk) => Self::Chunk(ChunkUploadedV1 { store_writes: chunk.store_writes.max(2), ..chunk }),
            Self::Assembled(part) => {
                Self::Assembled(PartAssembledV1 { store_writes: part.store_writes.max(2), ..part })
            }
        }
    }
}

/// Records in the log that a part is in the store, and adds the part to the digest if it is the one that counts. Other
/// bytes can have the same checksum, so only the event decides which bytes count. If another writer was first, the
/// store may hold the bytes of either writer, and the log must record that the part was written twice.
pub(super) async fn record_part(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    recorded: Recorded,
    part_number: u32,
    filled: FilledPart,
) -> Result<(), PlaneError> {
    let FilledPart { bytes, length, crc64nvme, ahead } = filled;
    let mut loaded = upload.loaded.lock().await;
    let (log, aggregate) = (worker.log.as_ref(), &upload.aggregate);
    let done = execute(log, aggregate, &mut loaded, context, recorded.clone().command()).await?;
    let is_ours = |state: &State| {
        let part = state.parts.get(&part_number);
        part.is_some_and(|part| part.crc64nvme == crc64nvme && part.etag == recorded.etag())
    };
    let part_is_ours = done.event.is_some() && is_ours(&loaded.state);
    if !part_is_ours && done.event.is_none() {
        execute(log, aggregate, &mut loaded, context, recorded.clone().again().command()).await?;
    }
    let part = loaded.state.grid().part(part_number);
    still_takes(&loaded.state, part)?;
    let differs = loaded.state.parts.get(&part_number).is_some_and(|part| part.crc64nvme != crc64nvme);
    let total_parts = loaded.state.grid().total_parts();
    drop(loaded);
    if differs {
        return Err(PlaneError::Differs);
    }
    if part_is_ours {
        upload.hash().part_stored(part_number, bytes, crc64nvme, ahead, || worker.budget.try_wait(length));
        save_midstate(worker, upload, total_parts).await;
    }
    Ok(())
}

/// Saves the midstate for other workers. Waits for the save after the last part, so that the verification need not read
/// the object back.
async fn save_midstate(worker: &Worker, upload: &OpenUpload, total_parts: u32) {
    let Some(midstate) = upload.hash().unsaved(total_parts) else { return };
    let id = upload.aggregate.upload;
    let bucket = worker.midstates.clone();
    let save = async move {
        if let Err(error) = midstate.save(&bucket, id).await {
            tracing::warn!(upload_id = %id, %error, "cannot save the midstate of a digest");
        }
        midstate.covered_parts()
    };
    let last = upload.hash().midstate().covered_parts() == total_parts;
    if last {
        save.await;
    } else {
        tokio::spawn(save);
    }
}

/// Returns the multipart upload of an upload. Opens it if it is not open yet.
pub(super) async fn open_multipart(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
) -> Result<MultipartOpenedV2, PlaneError> {
    let mut loaded = upload.loaded.lock().await;
    if let Some(opened) = &loaded.state.multipart {
        return Ok(opened.clone());
    }
    let key = keys::new_object(upload.aggregate.company, upload.aggregate.upload);
    let opened = MultipartOpenedV2 {
        storage_bucket: worker.store.bucket().to_owned(),
        storage_upload_id: worker.store.create_multipart(&key, Some(Crc::Crc64Nvme)).await?,
        storage_key: key,
        worker_id: worker.id,
        checksum_algorithm: Some(Crc::Crc64Nvme.name().to_owned()),
    };
    let command = Command::OpenMultipart(opened.clone());
    let done = execute(worker.log.as_ref(), &upload.aggregate, &mut loaded, context, command).await;
    let won = loaded.state.multipart.as_ref() == Some(&opened);
    // After an append without an answer, the log may contain this multipart upload. It is then deleted with the upload.
    let unknown = matches!(&done, Err(waybill_repository::ExecuteError::Append(_)));
    if !won && !unknown {
        worker.abort_multipart(&opened.storage_key, &opened.storage_upload_id).await?;
    }
    done?;
    loaded.state.multipart.clone().ok_or(PlaneError::Refused(waybill_domain::Refusal::NotFound { what: "upload" }))
}

/// Sends a part to the store, up to [`WRITES`] times if an attempt fails. Returns its `ETag` and the number of
/// attempts.
pub(super) async fn write_part(
    worker: &Worker,
    multipart: &MultipartOpenedV2,
    part_number: u32,
    bytes: &Bytes,
    crc64nvme: u64,
) -> Result<(String, u32), PlaneError> {
    let mut pause = Duration::from_millis(100);
    let mut writes = 1;
    loop {
        let (key, id) = (&multipart.storage_key, &multipart.storage_upload_id);
        STORED_BYTES.inc_by(bytes.len() as u64);
        let under_way = worker.pace.begin();
        match worker.store.upload_part(key, id, part_number, bytes.clone(), crc64nvme).await {
            Ok(etag) => {
                under_way.stored(bytes.len());
                return Ok((etag, writes));
            }
            Err(StoreError::Unavailable { .. } | StoreError::Corrupt { .. }) if writes < WRITES => {
                under_way.failed();
                drop(under_way);
                writes += 1;
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Corrupt { .. })) => {
                under_way.failed();
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
