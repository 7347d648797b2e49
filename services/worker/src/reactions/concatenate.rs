//! Concatenates partial uploads into a final upload. The worker reads their bytes once from the store and ingests them
//! like those of a client, through the part grid and the digest. The client does not send them again.

use super::ReactionError;
use super::complete::{complete_object, is_as_acknowledged};
use super::places::take_for;
use super::verify::read_back;
use crate::Worker;
use crate::data_plane::{Eviction, IncomingRange, PlaneError, assemble_part, ingest};
use crate::hashing::Midstate;
use actix_web::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_object_store::ObjectRange;
use waybill_repository::{ExecuteError, Loaded, UploadAggregate};
use waybill_schema::ErrorCode;
use waybill_schema::events::UploadKind;
use waybill_schema::{ByteRange, Causation, UploadId};
use waybill_service_kit::now;

/// Number of partial uploads that are claimed or deleted in parallel.
const AT_ONCE: usize = 8;

/// Claims the partial uploads, copies their bytes into the final upload, and completes it. Resumes after an
/// interruption.
pub(super) async fn concatenate(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadKind::Final { partials, .. } = loaded.state.kind.clone() else { return Ok(()) };
    let _place = take_for(&worker.long, aggregate.company, loaded.state.grid().size_bytes)?;
    let context = worker.context(causation);
    let repository = &worker.repository;
    let objects = match claim_all(worker, aggregate, &partials, causation).await {
        Err(ReactionError::Execute(ExecuteError::Refused(refusal))) => {
            return reject(worker, aggregate, loaded, causation, refusal.to_string()).await;
        }
        objects => objects?,
    };
    repository.refresh(aggregate, loaded).await?;
    let range = ByteRange { from: loaded.state.stored.prefix(), to: loaded.state.grid().size_bytes };
    if !range.is_empty() {
        let open = worker.uploads.open_current(aggregate.company, aggregate.upload).await?;
        let run = IncomingRange { range, checksum: None, sequential: true, eviction: Eviction::default() };
        let bytes = bytes_from(worker, objects, range.from);
        ingest(worker, &open, &context, &run, bytes).await?;
    }
    repository
        .execute_from(aggregate, loaded, Command::Complete { declared_sha256: None, now: now() }, &context)
        .await?;
    Ok(())
}

async fn reject(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
    message: String,
) -> Result<(), ReactionError> {
    let command = Command::Reject { code: ErrorCode::PartialUnfit, message };
    worker.repository.execute_from(aggregate, loaded, command, &worker.context(causation)).await?;
    Ok(())
}

/// Object of a partial upload. An empty partial upload has no object, and its key is empty.
#[derive(Clone)]
struct Object {
    key: String,
    size_bytes: u64,
}

/// Claims partial uploads, several in parallel. Returns their objects in the order of `partials`, which may contain a
/// partial upload more than once.
async fn claim_all(
    worker: &Worker,
    into: &UploadAggregate,
    partials: &[UploadId],
    causation: Causation,
) -> Result<Vec<Object>, ReactionError> {
    let distinct: BTreeSet<UploadId> = partials.iter().copied().collect();
    let claims: Vec<_> = distinct
        .into_iter()
        .map(async |partial| {
            let object = claim(worker, into, partial, causation).await?;
            Ok::<_, ReactionError>((partial, object))
        })
        .collect();
    // Wait for all claims, even after a failure. A dropped claim could leave a request that the store executes after
    // the cleanup of the others.
    let claimed: Vec<Result<(UploadId, Object), ReactionError>> =
        stream::iter(claims).buffer_unordered(AT_ONCE).collect().await;
    let is_refusal = |error: &ReactionError| matches!(error, ReactionError::Execute(ExecuteError::Refused(_)));
    let (mut objects, mut failed) = (BTreeMap::new(), None);
    for claim in claimed {
        match claim {
            Ok((partial, object)) => drop(objects.insert(partial, object)),
            Err(error) if failed.is_none() || is_refusal(&error) => failed = Some(error),
            Err(_) => {}
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(partials.iter().filter_map(|partial| objects.get(partial).cloned()).collect())
}

/// Claims a partial upload for the final upload, and completes the object of its parts.
async fn claim(
    worker: &Worker,
    into: &UploadAggregate,
    partial: UploadId,
    causation: Causation,
) -> Result<Object, ReactionError> {
    let context = worker.context(causation);
    let aggregate = UploadAggregate { company: into.company, upload: partial };
    let mut loaded = worker.repository.load(&aggregate).await?;
    let command = Command::Claim { into: into.upload };
    worker.repository.execute_from(&aggregate, &mut loaded, command, &context).await?;
    let size_bytes = loaded.state.grid().size_bytes;
    if size_bytes == 0 {
        return Ok(Object { key: String::new(), size_bytes });
    }
    let due = loaded.state.parts_to_assemble();
    if !due.is_empty() {
        let open = worker.uploads.open(aggregate.company, partial).await?;
        worker.repository.refresh(&aggregate, &mut *open.loaded.lock().await).await?;
        for part_number in due {
            let _lease = open.lease(part_number).await;
            match assemble_part(worker, &open, &context, part_number, None).await {
                // The store has lost bytes. This is reported below.
                Ok(()) | Err(PlaneError::Refused(Refusal::UploadEnded { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        worker.repository.refresh(&aggregate, &mut loaded).await?;
    }
    let unfit = || ExecuteError::Refused(Refusal::PartialUnfit { reason: "the store has lost its bytes" });
    let multipart = loaded.state.multipart.clone().filter(|_| loaded.state.parts_to_assemble().is_empty());
    let multipart = multipart.ok_or_else(unfit)?;
    if complete_object(worker, &aggregate, &loaded.state).await?.is_some() {
        return Err(unfit().into());
    }
    let (key, state) = (&multipart.storage_key, &loaded.state);
    if !is_as_acknowledged(worker, key, state).await? && read_back(worker, state, key, Midstate::new()).await?.is_none()
    {
        return Err(unfit().into());
    }
    worker.uploads.close(partial);
    Ok(Object { key: multipart.storage_key, size_bytes })
}

/// Returns the bytes of all objects in sequence, from the byte at `offset` on.
fn bytes_from(worker: &Worker, objects: Vec<Object>, offset: u64) -> BoxStream<'static, Result<Bytes, PayloadError>> {
    let mut begins = 0;
    let mut left = Vec::with_capacity(objects.len());
    for Object { key, size_bytes } in objects {
        let skip = offset.saturating_sub(begins).min(size_bytes);
        if skip < size_bytes {
            left.push(ObjectRange { key, from: skip, to: size_bytes });
        }
        begins += size_bytes;
    }
    worker.read_ahead.read(left).map_err(|error| PayloadError::Io(std::io::Error::other(error))).boxed()
}

/// Deletes the objects of the claimed partial uploads. If the final upload has ended without a file, also cancels
/// partial uploads that were not claimed, because the final upload has taken over their reservations.
pub(super) async fn delete_partials(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadKind::Final { partials, .. } = &state.kind else { return Ok(()) };
    let partials: BTreeSet<UploadId> = partials.iter().copied().collect();
    let ends: Vec<_> = partials
        .into_iter()
        .map(async |partial| {
            let partial = UploadAggregate { company: aggregate.company, upload: partial };
            let loaded = worker.repository.load(&partial).await?;
            if loaded.state.phase == (Phase::Concatenated { into: aggregate.upload }) {
                super::cleanup::delete_object(worker, &partial, &loaded.state).await?;
                super::cleanup::delete_staging(worker, &partial).await?;
            } else if loaded.state.phase == Phase::Active && state.has_ended_without_file() {
                super::cancel(worker, partial.company, partial.upload, causation).await?;
            }
            Ok(())
        })
        .collect();
    stream::iter(ends).buffer_unordered(AT_ONCE).try_collect().await
}
