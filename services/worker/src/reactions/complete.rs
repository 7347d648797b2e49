//! Making one object of an upload's parts.

use super::ReactionError;
use crate::Worker;
use bytes::Bytes;
use std::collections::BTreeSet;
use waybill_domain::upload::{Command, State, StoredPart};
use waybill_object_store::{CompletedPart, Crc, KnownPart, ListedPart, PartCrc, StoreError, crc64nvme};
use waybill_repository::{Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::{MultipartOpened, UploadKind};
use waybill_schema::{Causation, names};

/// Code and message of a rejection.
type Rejection = (ErrorCode, &'static str);

/// Returns the key of the object of an empty file, which has no parts and therefore no multipart upload.
pub(super) fn empty_object(aggregate: &UploadAggregate) -> String {
    names::object_key(aggregate.company, aggregate.upload, "empty")
}

/// Completes the multipart upload. Rejects the file if the store does not hold the parts that the log records.
pub(super) async fn complete_or_reject(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    if let Some((code, message)) = complete_object(worker, aggregate, &loaded.state).await? {
        let command = Command::Reject { code, message: message.to_owned() };
        worker.repository.execute_from(aggregate, loaded, command, &worker.context(causation)).await?;
    }
    Ok(())
}

/// Completes the multipart upload. Returns the code and the message of the rejection if the store does not hold the parts that
/// the log names.
///
/// Parts of direct uploads are listed first, because clients stored them. The log has the checksums of all other parts: the store
/// compares their `ETag`s when it completes the upload, and [`is_as_acknowledged`] checks the object of a store that does not.
pub(super) async fn complete_object(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
) -> Result<Option<Rejection>, ReactionError> {
    if state.copied.is_some() {
        return Ok(None);
    }
    let Some(multipart) = &state.multipart else {
        worker.store.put(&empty_object(aggregate), Bytes::new(), crc64nvme(&[])).await?;
        return Ok(None);
    };
    let result = match state.kind {
        UploadKind::Direct => complete_listed(worker, multipart, state).await,
        _ => complete_recorded(worker, multipart, state).await,
    };
    Ok(match result {
        Ok(rejection) => rejection,
        // A worker completed the upload before and died, or the parts are gone.
        Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => {
            lost(worker, &multipart.storage_key, state).await?
        }
        Err(error) => return Err(error.into()),
    })
}

/// Completes an upload from the parts in the log, if the store has exactly these.
async fn complete_recorded(
    worker: &Worker,
    multipart: &MultipartOpened,
    state: &State,
) -> Result<Option<Rejection>, StoreError> {
    match complete(worker, multipart, state, &[]).await {
        // The list tells whether parts differ or the store cannot complete the upload.
        Err(StoreError::PartsInvalid { .. }) => complete_listed(worker, multipart, state).await,
        result => result.map(|()| None),
    }
}

/// Completes an upload if the store lists exactly the parts of the log.
async fn complete_listed(
    worker: &Worker,
    multipart: &MultipartOpened,
    state: &State,
) -> Result<Option<Rejection>, StoreError> {
    let listed = worker.store.list_parts(&multipart.storage_key, &multipart.storage_upload_id).await?;
    if !fits(state, &listed) {
        return Ok(Some((
            ErrorCode::PartsDiffer,
            "the store holds other bytes than were acknowledged; upload the file again",
        )));
    }
    complete(worker, multipart, state, &listed).await?;
    Ok(None)
}

async fn complete(
    worker: &Worker,
    multipart: &MultipartOpened,
    state: &State,
    listed: &[ListedPart],
) -> Result<(), StoreError> {
    let part = |(part_number, part): (&u32, &StoredPart)| CompletedPart {
        part_number: *part_number,
        etag: part.etag.clone(),
        crc: crc(multipart, part, listed, *part_number),
    };
    let parts: Vec<CompletedPart> = state.parts.iter().map(part).collect();
    worker.store.complete_multipart(&multipart.storage_key, &multipart.storage_upload_id, &parts).await
}

/// Returns the CRC of a part in the algorithm that was announced for the upload, if any: from the log, or from the store's list for
/// parts that a client stored.
fn crc(multipart: &MultipartOpened, part: &StoredPart, listed: &[ListedPart], part_number: u32) -> Option<PartCrc> {
    let announced = multipart.checksum_algorithm.as_deref()?;
    if announced == Crc::Crc64Nvme.name() {
        return Some(PartCrc::crc64nvme(part.crc64nvme));
    }
    let listed = listed.iter().find(|listed| listed.part_number == part_number)?;
    listed.crc.clone().filter(|found| found.crc.name() == announced)
}

/// Checks that the object exists, because the multipart upload does not. Returns the rejection if it does not exist
/// either.
async fn lost(worker: &Worker, key: &str, state: &State) -> Result<Option<Rejection>, StoreError> {
    let size = worker.store.size(key).await?;
    let there = size == Some(state.grid().size_bytes);
    Ok((!there).then_some((ErrorCode::PartsLost, "the store has lost parts of the upload; upload the file again")))
}

/// Returns `true` if the store shows that the completed object consists of the parts that the log records. A part may
/// have been written again, and some stores use it although its `ETag` differs.
pub(super) async fn is_as_acknowledged(worker: &Worker, key: &str, state: &State) -> Result<bool, StoreError> {
    let known = state.parts.values().map(|part| KnownPart {
        etag: &part.etag,
        crc64nvme: part.crc64nvme,
        size_bytes: part.length,
    });
    let known: Vec<KnownPart<'_>> = known.collect();
    Ok(worker.store.info(key).await?.is_some_and(|info| info.shows(&known)))
}

/// Returns `true` if the store lists exactly the parts that the log records.
fn fits(state: &State, listed: &[ListedPart]) -> bool {
    let grid = state.grid();
    let same = |listed: &ListedPart| {
        state
            .parts
            .get(&listed.part_number)
            .is_some_and(|part| part.length == listed.size_bytes && listed.has_etag(&part.etag))
    };
    // Some stores list a part twice if it was written twice. Then both entries must match the log.
    let slots: BTreeSet<u32> = listed.iter().map(|part| part.part_number).collect();
    slots.len() == state.parts.len()
        && state.parts.len() == usize::try_from(grid.total_parts()).unwrap_or(usize::MAX)
        && listed.iter().all(same)
}
