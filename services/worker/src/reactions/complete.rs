//! Making one object of an upload's parts.

use super::ReactionError;
use crate::Worker;
use bytes::Bytes;
use std::collections::BTreeSet;
use waybill_domain::upload::{Command, State};
use waybill_object_store::{CompletedPart, Crc, KnownPart, ListedPart, PartCrc, StoreError, crc64nvme};
use waybill_repository::{Loaded, UploadAggregate, execute};
use waybill_schema::{Causation, names};

/// The object of an empty file: it has no part, so no multipart upload.
pub(super) fn empty_object(aggregate: &UploadAggregate) -> String {
    names::object_key(aggregate.company, aggregate.upload, "empty")
}

/// Completes the multipart upload; where what the store holds is not what the log says, the file is refused.
pub(super) async fn complete_or_reject(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    if let Some((code, message)) = complete_object(worker, aggregate, &loaded.state).await? {
        let command = Command::Reject { code, message: message.to_owned() };
        execute(worker.log.as_ref(), aggregate, loaded, &worker.context(causation), command).await?;
    }
    Ok(())
}

/// Completes the multipart upload, if what the store holds is what the log says; otherwise answers with code and message
/// of the fault.
///
/// Stores differ in what they check when completing, so the parts are listed first: a part that somebody replaced has
/// another `ETag`.
pub(super) async fn complete_object(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
) -> Result<Option<(&'static str, &'static str)>, ReactionError> {
    if state.copied.is_some() {
        return Ok(None);
    }
    let Some(multipart) = &state.multipart else {
        worker.store.put(&empty_object(aggregate), Bytes::new(), crc64nvme(&[])).await?;
        return Ok(None);
    };
    let key = &multipart.storage_key;
    Ok(match worker.store.list_parts(key, &multipart.storage_upload_id).await {
        Ok(listed) if fits(state, &listed) => {
            let parts: Vec<CompletedPart> = state
                .parts
                .iter()
                .map(|(n, part)| CompletedPart {
                    part_number: *n,
                    etag: part.etag.clone(),
                    crc: crc(state, &listed, *n),
                })
                .collect();
            match worker.store.complete_multipart(key, &multipart.storage_upload_id, &parts).await {
                Ok(()) => None,
                Err(StoreError::NoSuchUpload { .. }) => lost(worker, key, state).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(_) => Some(("parts_differ", "what the store holds is not what was acknowledged; upload the file again")),
        // Completed before, by a worker that did not get to say so.
        Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => lost(worker, key, state).await?,
        Err(error) => return Err(error.into()),
    })
}

/// The CRC of a part, if one was announced: of what went through a worker the log knows it, of what a client brought to the
/// store by itself the store.
fn crc(state: &State, listed: &[ListedPart], part_number: u32) -> Option<PartCrc> {
    let announced = state.multipart.as_ref()?.checksum_algorithm.as_deref()?;
    if announced == Crc::Crc64Nvme.name() {
        return state.parts.get(&part_number).map(|part| PartCrc::crc64nvme(part.crc64nvme));
    }
    let listed = listed.iter().find(|part| part.part_number == part_number)?;
    listed.crc.clone().filter(|found| found.crc.name() == announced)
}

/// Without a multipart upload the object must be there.
async fn lost(worker: &Worker, key: &str, state: &State) -> Result<Option<(&'static str, &'static str)>, StoreError> {
    let size = worker.store.size(key).await?;
    let there = size == Some(state.grid().size_bytes);
    Ok((!there).then_some(("parts_lost", "the store no longer holds the parts; upload the file again")))
}

/// Whether the store shows that the completed object is made of the parts that the log names. A part may have been written
/// once more after the parts were listed, and some stores take it into the object although its `ETag` is another one.
pub(super) async fn is_as_acknowledged(worker: &Worker, key: &str, state: &State) -> Result<bool, StoreError> {
    let known = state.parts.values().map(|part| KnownPart {
        etag: &part.etag,
        crc64nvme: part.crc64nvme,
        size_bytes: part.length,
    });
    let known: Vec<KnownPart<'_>> = known.collect();
    Ok(worker.store.info(key).await?.is_some_and(|info| info.shows(&known)))
}

/// Whether the store lists exactly the parts that the log names.
fn fits(state: &State, listed: &[ListedPart]) -> bool {
    let grid = state.grid();
    let same = |listed: &ListedPart| {
        state
            .parts
            .get(&listed.part_number)
            .is_some_and(|part| part.length == listed.size_bytes && listed.has_etag(&part.etag))
    };
    // Some stores list a slot that was written twice twice; then both must be what the log names.
    let slots: BTreeSet<u32> = listed.iter().map(|part| part.part_number).collect();
    slots.len() == state.parts.len()
        && state.parts.len() == usize::try_from(grid.total_parts()).unwrap_or(usize::MAX)
        && listed.iter().all(same)
}
