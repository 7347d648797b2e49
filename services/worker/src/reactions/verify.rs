//! Verifies uploads: computes the digest of the stored bytes.

use super::ReactionError;
use super::complete::{empty_object, is_as_acknowledged};
use super::delivery::withhold_if_removed;
use super::places::take_for;
use crate::file_hash::{FileDigests, FileHash};
use crate::hashing::Midstate;
use crate::{Worker, links, sniff};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use futures_util::{TryStreamExt, future};
use waybill_domain::upload::{Command, Phase, State, StoredPart, Verification};
use waybill_object_store::{ObjectRange, StoreError};
use waybill_repository::{Loaded, UploadAggregate};
use waybill_schema::Causation;
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadKind;

/// Verifies the object of a completed upload, or rejects the upload.
pub(super) async fn verify_object(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    if loaded.state.phase != Phase::Verifying {
        return Ok(());
    }
    let key = match (&loaded.state.copied, &loaded.state.multipart) {
        (Some(copied), _) => copied.storage_key.clone(),
        (None, Some(multipart)) => multipart.storage_key.clone(),
        (None, None) => empty_object(aggregate),
    };
    // The client waits for both results, so both are computed at the same time.
    let sniffed = sniff::of_object(worker.store.as_ref(), &key, loaded.state.grid().size_bytes);
    let (digests, sniffed) = future::join(digests_of(worker, aggregate, &loaded.state, &key), sniffed).await;
    let command = match digests? {
        Some((FileDigests { sha256, crc32 }, read_back)) => {
            let found = Verification {
                sha256,
                storage_bucket: worker.store.bucket().to_owned(),
                // Only evaluated here, because an object with wrong contents may be too short to detect its type.
                sniffed_mime_type: sniffed?,
                storage_key: key,
                read_back,
                crc32: Some(crc32),
            };
            Command::Verify {
                found,
                policy: links::types::<ReactionError>(worker, aggregate.company, loaded.state.link_id).await?,
            }
        }
        None => Command::Reject {
            code: ErrorCode::PartsDiffer,
            message: "the store holds other bytes than were acknowledged; upload the file again".to_owned(),
        },
    };
    if matches!(command, Command::Verify { .. }) {
        withhold_if_removed(worker, aggregate, &loaded.state, causation).await?;
    }
    worker.repository.execute_from(aggregate, loaded, command, &worker.context(causation)).await?;
    Ok(())
}

/// Returns the digests of the stored bytes, and `true` if bytes had to be read back for them. Returns `None` if the stored
/// bytes are not those that the log records.
async fn digests_of(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
    key: &str,
) -> Result<Option<(FileDigests, bool)>, ReactionError> {
    let size_bytes = state.grid().size_bytes;
    if state.copied.is_some() {
        let _place = take_for(&worker.long, aggregate.company, size_bytes)?;
        // The client may have replaced the object after its size was read and before it was copied.
        if worker.store.size(key).await? != Some(size_bytes) {
            return Ok(None);
        }
        return Ok(Some((digests_of_object(worker, key, size_bytes).await?, true)));
    }
    let mut midstate =
        if state.needs_read_back() { Midstate::new() } else { known_midstate(worker, aggregate, state).await };
    if midstate.covered_parts() > 0 && !is_as_acknowledged(worker, key, state).await? {
        tracing::info!("the store does not confirm the parts of the object; it is read back");
        midstate = Midstate::new();
    }
    if midstate.covered_parts() == state.grid().total_parts() {
        return Ok(Some((midstate.digests(), false)));
    }
    let _place = take_for(&worker.long, aggregate.company, size_bytes)?;
    Ok(read_back(worker, state, key, midstate).await?.map(|digests| (digests, true)))
}

/// Returns the digests of a whole object.
async fn digests_of_object(worker: &Worker, key: &str, size_bytes: u64) -> Result<FileDigests, StoreError> {
    let mut bytes = worker.read_ahead.read([ObjectRange { key: key.to_owned(), from: 0, to: size_bytes }]);
    let mut hash = FileHash::new();
    while let Some(bytes) = bytes.try_next().await? {
        hash.update(&bytes);
    }
    Ok(hash.finish())
}

/// Returns the midstate in memory if it covers all parts, otherwise the one in the bucket.
async fn known_midstate(worker: &Worker, aggregate: &UploadAggregate, state: &State) -> Midstate {
    let in_memory = worker.uploads.get(aggregate.upload).map(|open| open.hash().midstate().clone());
    if let Some(midstate) = in_memory.filter(|midstate| midstate.fits(state))
        && midstate.covered_parts() == state.grid().total_parts()
    {
        return midstate;
    }
    Midstate::load(&worker.midstates, aggregate.upload, state).await.unwrap_or_else(Midstate::new)
}

/// Reads the parts that `midstate` does not cover, and compares each with its checksum in the log. Returns `None` if a
/// part differs.
pub(super) async fn read_back(
    worker: &Worker,
    state: &State,
    key: &str,
    midstate: Midstate,
) -> Result<Option<FileDigests>, ReactionError> {
    let grid = state.grid();
    let first = midstate.covered_parts() + 1;
    tracing::info!(from_part = first, total_parts = grid.total_parts(), "reading an object back");
    let from = grid.part(first).from;
    let mut body = worker.read_ahead.read([ObjectRange { key: key.to_owned(), from, to: grid.size_bytes }]);
    let mut hash = midstate.into_hash();
    let mut part_number = first;
    let mut crc = Crc::new(CrcAlgorithm::Crc64Nvme);
    let mut offset = from;
    while let Some(mut bytes) = body.try_next().await? {
        hash.update(&bytes);
        while !bytes.is_empty() {
            let left = grid.part(part_number).to.saturating_sub(offset);
            let piece = bytes.split_to(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            if piece.is_empty() {
                return Ok(None);
            }
            crc.update(&piece);
            offset += piece.len() as u64;
            if offset == grid.part(part_number).to {
                let found = std::mem::replace(&mut crc, Crc::new(CrcAlgorithm::Crc64Nvme)).finalize();
                // The log has no checksum of parts that a client stored directly. The store checked the signed
                // checksum.
                let is_right = |part: &StoredPart| state.kind == UploadKind::Direct || part.crc64nvme == found;
                if !state.parts.get(&part_number).is_some_and(is_right) {
                    return Ok(None);
                }
                part_number += 1;
            }
        }
    }
    if offset != grid.size_bytes {
        return Err(
            StoreError::Unavailable { operation: "reading an object back", reason: "it ended early".into() }.into()
        );
    }
    Ok(Some(hash.finish()))
}
