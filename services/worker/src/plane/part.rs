//! Writing a part, and saying so in the log.

use super::assemble::still_takes;
use super::buffer::Filled;
use super::{OpenUpload, PlaneError};
use crate::{Worker, keys};
use bytes::Bytes;
use std::time::Duration;
use waybill_domain::upload::Command;
use waybill_object_store::{Crc, StoreError};
use waybill_repository::{Context, execute};
use waybill_schema::Event;
use waybill_schema::events::{ChunkStorage, ChunkUploadedV1, MultipartOpenedV2};
use waybill_service_kit::metrics::STORED_BYTES;

/// How often a part is sent to the store before the client is told to try again.
const WRITES: u32 = 3;

/// Stores a whole part: in the store first, then in the log, then in the digest.
pub(super) async fn store_part(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    part_number: u32,
    filled: Filled,
) -> Result<(), PlaneError> {
    let (length, crc64nvme) = (filled.bytes.len() as u64, filled.crc64nvme);
    let multipart = open_multipart(worker, upload, context).await?;
    let (etag, store_writes) = write_part(worker, &multipart, part_number, &filled.bytes, crc64nvme).await?;
    let chunk = ChunkUploadedV1 {
        offset: upload.loaded.lock().await.state.grid().part(part_number).from,
        length,
        crc64nvme,
        etag,
        storage: ChunkStorage::Part { part_number },
        worker_id: worker.id,
        store_writes,
    };
    record_part(worker, upload, context, Command::RecordChunk(chunk), (part_number, filled)).await?;
    Ok(())
}

/// Says in the log that a part is in the store, and takes it into the digest if it is the one that counts.
pub(super) async fn record_part(
    worker: &Worker,
    upload: &OpenUpload,
    context: &Context,
    command: Command,
    (part_number, filled): (u32, Filled),
) -> Result<(), PlaneError> {
    let Filled { bytes, crc64nvme, ahead } = filled;
    let length = bytes.len() as u64;
    let mut loaded = upload.loaded.lock().await;
    execute(worker.log.as_ref(), &upload.aggregate, &mut loaded, context, command).await?;
    let part = loaded.state.grid().part(part_number);
    still_takes(&loaded.state, part)?;
    let part_is_ours = loaded.state.parts.get(&part_number).is_some_and(|part| part.crc64nvme == crc64nvme);
    let total_parts = loaded.state.grid().total_parts();
    drop(loaded);
    if part_is_ours {
        upload.hash().part_stored(part_number, bytes, crc64nvme, ahead, || worker.budget.try_wait(length));
        save_midstate(worker, upload, total_parts).await;
    }
    Ok(())
}

/// Keeps the digest for another worker. The last one is waited for: whoever verifies then need not read the object.
async fn save_midstate(worker: &Worker, upload: &OpenUpload, total_parts: u32) {
    let Some(midstate) = upload.hash().unsaved(total_parts) else { return };
    let id = upload.aggregate.upload;
    let bucket = worker.midstates.clone();
    let save = async move {
        if let Err(error) = midstate.save(&bucket, id).await {
            tracing::warn!(upload_id = %id, %error, "a digest's midstate was not kept");
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

/// The upload's multipart upload; opened by whoever needs it first.
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
    let won =
        matches!(&done, Ok(done) if matches!(&done.event, Some(Event::MultipartOpened(event)) if *event == opened));
    // After an append without an answer ours may be the one in the log; it is then found there, and cleaned up with it.
    let unknown = matches!(&done, Err(waybill_repository::ExecuteError::Append(_)));
    if !won && !unknown {
        worker.abort_multipart(&opened.storage_key, &opened.storage_upload_id).await?;
    }
    done?;
    loaded.state.multipart.clone().ok_or(PlaneError::Refused(waybill_domain::Refusal::NotFound { what: "upload" }))
}

/// Sends a part to the store, again where the answer was lost; answers with its `ETag` and how often it was sent.
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
        match worker.store.upload_part(key, id, part_number, bytes.clone(), crc64nvme).await {
            Ok(etag) => return Ok((etag, writes)),
            Err(StoreError::Unavailable { .. } | StoreError::Corrupt { .. }) if writes < WRITES => {
                writes += 1;
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
