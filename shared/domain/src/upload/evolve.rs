//! Applies events to the state of an upload.

use super::{Phase, StagedPiece, State, StoredPart};
use waybill_schema::events::{ChunkStorage, ChunkUploaded, PartAssembled, UploadDescription, UploadEvent, UploadKind};
use waybill_schema::{ByteRange, Timestamp};

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &UploadEvent, time: Timestamp) {
    match event {
        UploadEvent::UploadStarted(upload) => {
            start(state, &upload.started, time);
            state.length_at_start = !upload.length_deferred;
            state.length_deferred = upload.length_deferred;
            state.kind = upload.kind.clone();
            state.upload_metadata.clone_from(&upload.upload_metadata);
            state.link_id = upload.link_id;
        }
        UploadEvent::UploadLengthSet(set) => set_length(state, set.size_bytes),
        UploadEvent::UploadConcatenated(concatenated) => state.phase = Phase::Concatenated { into: concatenated.into },
        UploadEvent::QuarantineSigned(signed) => {
            state.quarantine_until = state.quarantine_until.max(Some(signed.until))
        }
        UploadEvent::QuarantineCleared(_) => state.quarantine_until = None,
        UploadEvent::QuarantineCopied(copied) => {
            set_length(state, copied.size_bytes);
            state.writers.insert(copied.worker_id);
            state.stored.insert(state.grid().all());
            state.copied = Some(copied.clone());
        }
        UploadEvent::MultipartOpened(opened) => {
            state.writers.insert(opened.worker_id);
            state.multipart.get_or_insert_with(|| opened.clone());
        }
        UploadEvent::ChunkUploaded(chunk) => chunk_uploaded(state, chunk),
        UploadEvent::PartAssembled(part) => part_assembled(state, part),
        UploadEvent::FileCompleted(completed) => {
            state.phase = Phase::Verifying;
            if let (Some(declared), Some(started)) = (completed.declared_sha256, state.started.as_mut()) {
                started.declared_sha256 = Some(declared);
            }
        }
        UploadEvent::FileVerified(verified) => {
            state.stored.insert(state.grid().all());
            state.sniffed_mime_type.clone_from(&verified.sniffed_mime_type);
            state.phase = Phase::Verified { sha256: verified.sha256, storage_key: verified.storage_key.clone() };
        }
        UploadEvent::FileRejected(rejected) => {
            state.phase = Phase::Rejected { code: rejected.code.clone(), message: rejected.message.clone() };
        }
        UploadEvent::FileUploaded(uploaded) => {
            start(state, &uploaded.started, time);
            state.length_at_start = true;
            state.upload_metadata.clone_from(&uploaded.upload_metadata);
            state.link_id = uploaded.link_id;
            state.stored.insert(state.grid().all());
            state.writers.insert(uploaded.worker_id);
            state.sniffed_mime_type.clone_from(&uploaded.sniffed_mime_type);
            state.phase = Phase::Verified { sha256: uploaded.sha256, storage_key: uploaded.storage_key.clone() };
        }
        UploadEvent::UploadCancelled(_) => state.phase = Phase::Cancelled,
        UploadEvent::UploadExpired(_) => state.phase = Phase::Expired,
    }
}

fn start(state: &mut State, started: &UploadDescription, time: Timestamp) {
    state.started = Some(started.clone());
    state.started_at = time;
    state.phase = Phase::Active;
}

fn set_length(state: &mut State, size_bytes: u64) {
    state.length_deferred = false;
    if let Some(started) = &mut state.started {
        started.size_bytes = size_bytes;
    }
}

fn chunk_uploaded(state: &mut State, chunk: &ChunkUploaded) {
    let range = ByteRange::at(chunk.offset, chunk.length);
    // A chunk may be recorded after the end of the upload. It is ignored, and the worker that stored its bytes deletes
    // them.
    if range.to > state.grid().size_bytes || state.has_ended() {
        return;
    }
    match &chunk.storage {
        ChunkStorage::Part { part_number } => {
            let part = StoredPart { etag: chunk.etag.clone(), crc64nvme: chunk.crc64nvme, length: chunk.length };
            state.writers.insert(chunk.worker_id);
            state.rewritten |= chunk.store_writes > 1;
            drop(store_part(state, *part_number, part));
        }
        ChunkStorage::Staged { storage_key } => {
            let fresh = state.stored.gaps(range);
            state.pieces = state.pieces.saturating_add(u32::from(!fresh.is_empty()));
            for gap in fresh {
                let piece = StagedPiece {
                    range: gap,
                    storage_key: storage_key.clone(),
                    object_offset: gap.from - chunk.offset,
                    crc64nvme: (gap == range).then_some(chunk.crc64nvme),
                };
                state.staged.insert(gap.from, piece);
            }
        }
    }
    state.stored.insert(range);
}

fn part_assembled(state: &mut State, assembled: &PartAssembled) {
    let part = StoredPart { etag: assembled.etag.clone(), crc64nvme: assembled.crc64nvme, length: assembled.length };
    state.writers.insert(assembled.worker_id);
    state.rewritten |= assembled.store_writes > 1;
    for piece in store_part(state, assembled.part_number, part) {
        state.joined.push(&piece);
    }
}

/// Records a part and returns the staged pieces that it replaces. The first event of a part wins. A second event with
/// other values means that the part was written again in the store. For direct uploads the last event wins, because
/// their objects are always read back.
fn store_part(state: &mut State, part_number: u32, part: StoredPart) -> Vec<StagedPiece> {
    if let Some(before) = state.parts.get(&part_number).filter(|_| state.kind != UploadKind::Direct) {
        state.rewritten |= *before != part;
        return Vec::new();
    }
    let range = state.grid().part(part_number);
    let superseded: Vec<u64> = state.staged.range(range.from..range.to).map(|(offset, _)| *offset).collect();
    state.parts.insert(part_number, part);
    superseded.iter().filter_map(|offset| state.staged.remove(offset)).collect()
}
