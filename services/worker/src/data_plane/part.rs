//! Writes parts to the store and records them in the log. Compares repeated bytes with the stored ones, so that a worker
//! acknowledges only bytes that equal the stored ones.

use super::buffer::FilledPart;
use super::incoming::{Ingest, still_takes};
use super::{OpenUpload, PlaneError};
use crate::metrics::STORED_BYTES;
use crate::{Worker, keys};
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use futures_util::StreamExt;
use std::time::Duration;
use waybill_domain::upload::{Command, Known, StagedPiece, State};
use waybill_object_store::{Crc, StoreError, crc64nvme};
use waybill_repository::Context;
use waybill_schema::ByteRange;
use waybill_schema::events::{ChunkStorage, ChunkUploaded, MultipartOpened, PartAssembled};

/// Maximum number of attempts to send a part to the store. After them, the client must try again.
const WRITES: u32 = 3;

impl Ingest<'_> {
    /// Sends a whole part to the store, as a part of `multipart` if that is open. The part counts only after
    /// [`record_part`] has recorded it.
    pub(super) async fn store_part(
        &self,
        part_number: u32,
        filled: &FilledPart,
        multipart: Option<MultipartOpened>,
    ) -> Result<Recorded, PlaneError> {
        let Self { worker, upload, context, .. } = self;
        let (length, crc64nvme) = (filled.bytes.len() as u64, filled.crc64nvme);
        let multipart = match multipart {
            Some(multipart) => multipart,
            None => open_multipart(worker, upload, context).await?,
        };
        let (etag, store_writes) = write_part(worker, &multipart, part_number, &filled.bytes, crc64nvme).await?;
        Ok(Recorded::Chunk(ChunkUploaded {
            offset: self.grid.part(part_number).from,
            length,
            crc64nvme,
            etag,
            storage: ChunkStorage::Part { part_number },
            worker_id: worker.id,
            store_writes,
        }))
    }
}

/// Event data of a written part: either bytes of a request or an assembly of staged objects.
#[derive(Clone)]
pub(super) enum Recorded {
    Chunk(ChunkUploaded),
    Assembled(PartAssembled),
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
            Self::Chunk(chunk) => Self::Chunk(ChunkUploaded { store_writes: chunk.store_writes.max(2), ..chunk }),
            Self::Assembled(part) => Self::Assembled(PartAssembled { store_writes: part.store_writes.max(2), ..part }),
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
    let (repository, aggregate) = (&worker.repository, &upload.aggregate);
    let done = repository.execute_from(aggregate, &mut loaded, recorded.clone().command(), context).await?;
    let is_ours = |state: &State| {
        let part = state.parts.get(&part_number);
        part.is_some_and(|part| part.crc64nvme == crc64nvme && part.etag == recorded.etag())
    };
    let part_is_ours = done.event.is_some() && is_ours(&loaded.state);
    if !part_is_ours && done.event.is_none() {
        repository.execute_from(aggregate, &mut loaded, recorded.clone().again().command(), context).await?;
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
) -> Result<MultipartOpened, PlaneError> {
    let mut loaded = upload.loaded.lock().await;
    if let Some(opened) = &loaded.state.multipart {
        return Ok(opened.clone());
    }
    let key = keys::new_object(upload.aggregate.company, upload.aggregate.upload);
    let opened = MultipartOpened {
        storage_bucket: worker.store.bucket().to_owned(),
        storage_upload_id: worker.store.create_multipart(&key, Some(Crc::Crc64Nvme)).await?,
        storage_key: key,
        worker_id: worker.id,
        checksum_algorithm: Some(Crc::Crc64Nvme.name().to_owned()),
    };
    let command = Command::OpenMultipart(opened.clone());
    let done = worker.repository.execute_from(&upload.aggregate, &mut loaded, command, context).await;
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
    multipart: &MultipartOpened,
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

/// A range of an upload in memory.
pub(super) struct InHand<'a> {
    pub(super) offset: u64,
    pub(super) bytes: &'a Bytes,
    pub(super) crc64nvme: u64,
}

impl InHand<'_> {
    pub(super) fn range(&self) -> ByteRange {
        ByteRange::at(self.offset, self.bytes.len() as u64)
    }

    fn slice(&self, range: ByteRange) -> Bytes {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.bytes.slice(index(range.from).min(self.bytes.len())..index(range.to).min(self.bytes.len()))
    }

    /// Compares the bytes with the stored bytes or checksums of their range.
    pub(super) async fn compare(&self, worker: &Worker, known: Vec<Known>) -> Result<(), PlaneError> {
        for known in known {
            let is_same = match known {
                Known::Checksum { range, crc64nvme: known } if range == self.range() => known == self.crc64nvme,
                Known::Checksum { range, crc64nvme: known } => known == crc64nvme(&self.slice(range)),
                Known::Staged(piece) => holds(worker, &piece, &self.slice(piece.range)).await?,
                Known::Hidden(_) => return Err(PlaneError::Hidden),
            };
            if !is_same {
                return Err(PlaneError::Differs);
            }
        }
        Ok(())
    }
}

/// Result of [`compare_with_stored`].
pub(super) struct Compared {
    /// `true` if the whole range is stored.
    pub(super) is_stored: bool,
    /// The multipart upload of the upload, if it is open.
    pub(super) multipart: Option<MultipartOpened>,
}

/// Compares a range within one part with the stored bytes.
pub(super) async fn compare_with_stored(
    worker: &Worker,
    upload: &OpenUpload,
    in_hand: InHand<'_>,
) -> Result<Compared, PlaneError> {
    let (known, is_stored, takes_bytes, multipart) = {
        let loaded = upload.loaded.lock().await;
        let (state, range) = (&loaded.state, in_hand.range());
        let takes_bytes = state.check_takes_bytes();
        (state.known_in(range), state.stored.contains(range), takes_bytes, state.multipart.clone())
    };
    if known.iter().any(|known| matches!(known, Known::Hidden(_))) {
        // If the upload no longer takes bytes, this is the better answer.
        takes_bytes?;
    }
    in_hand.compare(worker, known).await?;
    Ok(Compared { is_stored, multipart })
}

/// Compares the checksum of repeated bytes with the checksums of the stored part to which they belong.
pub(super) async fn check_part(upload: &OpenUpload, range: ByteRange, crc64nvme: u64) -> Result<(), PlaneError> {
    let (known, takes_bytes) = {
        let loaded = upload.loaded.lock().await;
        (loaded.state.known_in(range), loaded.state.check_takes_bytes())
    };
    match checksum_of(known) {
        Some(known) if known == crc64nvme => Ok(()),
        Some(_) => Err(PlaneError::Differs),
        None => takes_bytes.map_err(PlaneError::from).and(Err(PlaneError::Hidden)),
    }
}

/// Combines the checksums of adjacent ranges into one. Returns `None` if a range has no checksum.
fn checksum_of(known: Vec<Known>) -> Option<u64> {
    let mut sums = Vec::with_capacity(known.len());
    for known in known {
        let Known::Checksum { range, crc64nvme } = known else { return None };
        sums.push((range, crc64nvme));
    }
    sums.sort_unstable_by_key(|(range, _)| range.from);
    let combine = |before, (range, crc): (ByteRange, u64)| {
        crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, before, crc, range.len())
    };
    let mut sums = sums.into_iter();
    let first = sums.next()?.1;
    Some(sums.fold(first, combine))
}

/// Returns `true` if a staged piece has these bytes.
async fn holds(worker: &Worker, piece: &StagedPiece, bytes: &Bytes) -> Result<bool, StoreError> {
    let mut body = worker.store.get(&piece.storage_key, piece.object_offset, Some(piece.range.len())).await?;
    let mut rest = bytes.as_ref();
    while let Some(read) = body.bytes.next().await {
        let Some(after) = rest.strip_prefix(read?.as_ref()) else { return Ok(false) };
        rest = after;
    }
    Ok(rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8], from: usize, to: usize) -> Known {
        let range = ByteRange { from: from as u64, to: to as u64 };
        Known::Checksum { range, crc64nvme: crc64nvme(&bytes[from..to]) }
    }

    #[test]
    fn checksums_of_pieces_in_any_order_tell_of_all_their_bytes() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let known = vec![sum(&bytes, 3_000, 3_001), sum(&bytes, 0, 3_000), sum(&bytes, 3_001, 10_000)];
        assert_eq!(checksum_of(known.clone()), Some(crc64nvme(&bytes)));
        let hidden = Known::Hidden(ByteRange { from: 10_000, to: 10_001 });
        assert_eq!(checksum_of(known.into_iter().chain([hidden]).collect()), None);
    }
}
