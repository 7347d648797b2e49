//! Takes over objects that clients create through presigned URLs. A client can overwrite its object until the URLs
//! expire, so the worker copies it to a key that no client knows, and uses only the copy.
//!
//! The client does not report when it has created the object. The worker that received the event about the URL polls
//! for it ([`Awaited`](super::Awaited)), and so does the sweep in case that worker is gone.

use super::places::take_for;
use super::{ReactionError, cleanup};
use crate::{Worker, keys, links};
use std::collections::BTreeMap;
use waybill_domain::Refusal;
use waybill_domain::limits::OpenLimits;
use waybill_domain::quota;
use waybill_domain::upload::{Command, Phase, State};
use waybill_object_store::StoreError;
use waybill_repository::{Context, ExecuteError, Loaded, QuotaAggregate, UploadAggregate};
use waybill_schema::events::{QuarantineCopied, UploadKind};
use waybill_schema::{Causation, Timestamp};
use waybill_service_kit::{new_id, now};

/// Copies the object if it exists, and completes the upload.
pub(super) async fn take_over(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadKind::Quarantine { quarantine_key } = loaded.state.kind.clone() else { return Ok(()) };
    if loaded.state.phase != Phase::Active {
        worker.awaited.forget(aggregate);
        return Ok(());
    }
    let context = worker.context(causation);
    if loaded.state.copied.is_none() {
        let Some(made) = worker.store.info(&quarantine_key).await? else {
            // After the URLs have expired, only a PUT that has already begun can create the object. The sweep looks for
            // it.
            match loaded.state.quarantine_until {
                Some(until) if now() < until => worker.awaited.again(aggregate, causation),
                _ => worker.awaited.forget(aggregate),
            }
            return Ok(());
        };
        let size_bytes = made.size_bytes;
        // If there is no place for the copy, the object is looked for again.
        let _place = take_for(&worker.long, aggregate.company, size_bytes)?;
        worker.awaited.forget(aggregate);
        let storage_key = keys::copy_of(aggregate.company, aggregate.upload, &made);
        let storage_bucket = worker.store.bucket().to_owned();
        let copied = QuarantineCopied { storage_bucket, storage_key, size_bytes, worker_id: worker.id };
        // Decide before copying, so that an object that is too large is not copied.
        let fits = waybill_domain::upload::decide(&loaded.state, Command::CopyQuarantine(copied.clone()));
        let done = match fits {
            Ok(_) => {
                if let Err(refusal) = reserve(worker, aggregate, &loaded.state, size_bytes, &context).await? {
                    reject(worker, aggregate, loaded, &context, &refusal).await?;
                    return Ok(());
                }
                // An earlier copy whose answer was lost may have finished.
                if worker.store.size(&copied.storage_key).await? != Some(size_bytes) {
                    worker.store.copy(&quarantine_key, &copied.storage_key, &made).await?;
                }
                let command = Command::CopyQuarantine(copied.clone());
                let done = worker.repository.execute_from(aggregate, loaded, command, &context).await;
                let is_ours = loaded.state.copied.as_ref().is_some_and(|it| it.storage_key == copied.storage_key);
                let is_decided = matches!(&done, Ok(_) | Err(ExecuteError::Refused(_)));
                if is_decided && !is_ours {
                    worker.delete(&copied.storage_key).await?;
                }
                done.map(drop)
            }
            Err(refusal) => Err(refusal.into()),
        };
        match done {
            Ok(()) => {}
            Err(ExecuteError::Refused(refusal @ Refusal::SizeExceeded { .. })) => {
                reject(worker, aggregate, loaded, &context, &refusal).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let command = Command::Complete { declared_sha256: None, now: now() };
    match worker.repository.execute_from(aggregate, loaded, command, &context).await {
        // The upload has ended in the meantime. The reaction to its end does the rest.
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Rejects an upload whose client has stored more bytes in parts than the file can have. Gateways look at the parts only
/// if the client asks them for something.
pub(crate) async fn check_parts(worker: &Worker, aggregate: &UploadAggregate) -> Result<(), ReactionError> {
    let mut loaded = worker.repository.load(aggregate).await?;
    let UploadKind::Quarantine { quarantine_key } = loaded.state.kind.clone() else { return Ok(()) };
    if loaded.state.phase != Phase::Active || loaded.state.copied.is_some() {
        return Ok(());
    }
    let size_bytes = loaded.state.grid().size_bytes;
    let open = match worker.store.list_multiparts(&quarantine_key).await {
        // The store does not allow to list multipart uploads.
        Err(StoreError::Refused { .. }) => return Ok(()),
        open => open?,
    };
    let mut stored_bytes = 0_u64;
    for (key, upload_id) in open {
        let parts = match worker.store.list_parts(&key, &upload_id).await {
            // The client has completed or aborted it.
            Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => continue,
            parts => parts?,
        };
        stored_bytes = parts.iter().fold(stored_bytes, |sum, part| sum.saturating_add(part.size_bytes));
    }
    if stored_bytes <= size_bytes {
        return Ok(());
    }
    let context = worker.context(Causation::Request(new_id()));
    reject(worker, aggregate, &mut loaded, &context, &Refusal::SizeExceeded { size_bytes }).await
}

/// Raises the reservation to the size of the object if the client did not declare the size.
async fn reserve(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
    size_bytes: u64,
    context: &Context,
) -> Result<Result<(), Refusal>, ReactionError> {
    if !state.length_deferred {
        return Ok(Ok(()));
    }
    let limits = worker.policies.limits(aggregate.company).await?;
    // The reservation was made before, and its event recorded the storage limit.
    let mut links = BTreeMap::new();
    if let Some(link) = state.link_id
        && let Some(limits) = links::limits(worker, aggregate.company, link).await?
    {
        links.insert(link, limits);
    }
    let terms = quota::Terms { default_limit_bytes: 0, limits, open: OpenLimits::NONE, links };
    let (upload_id, needed_bytes, max_bytes) = (aggregate.upload, size_bytes, size_bytes);
    let raise = quota::Command::Raise { upload_id, needed_bytes, max_bytes, terms };
    match worker.repository.execute(&QuotaAggregate { company: aggregate.company }, raise, context).await {
        Ok(_) => Ok(Ok(())),
        Err(ExecuteError::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error.into()),
    }
}

async fn reject(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    context: &Context,
    refusal: &Refusal,
) -> Result<(), ReactionError> {
    let command = Command::Reject { code: refusal.code(), message: refusal.to_string() };
    worker.repository.execute_from(aggregate, loaded, command, context).await?;
    Ok(())
}

/// Deletes the object of the client, its unfinished multipart uploads, and all copies except the one of the verified
/// file.
pub(super) async fn delete(worker: &Worker, aggregate: &UploadAggregate, state: &State) -> Result<(), ReactionError> {
    worker.awaited.forget(aggregate);
    delete_uncopied(worker, aggregate, state).await?;
    let copies = keys::objects(aggregate.company, aggregate.upload);
    cleanup::abort_all(worker, &copies).await?;
    let counts = match &state.phase {
        Phase::Verified { storage_key, .. } => Some(storage_key.as_str()),
        _ => None,
    };
    Ok(cleanup::delete_others(worker, &copies, counts).await?)
}

async fn delete_uncopied(worker: &Worker, aggregate: &UploadAggregate, state: &State) -> Result<(), ReactionError> {
    if let UploadKind::Quarantine { quarantine_key } = &state.kind {
        // List by the whole key, because MinIO does not find multipart uploads by a prefix of a key.
        cleanup::abort_all(worker, quarantine_key).await?;
    }
    let prefix = keys::quarantine(aggregate.company, aggregate.upload);
    Ok(cleanup::delete_all(worker, &prefix).await?)
}

/// Deletes objects that the client created after the upload had ended. The URLs must have expired, so that no more
/// objects can follow.
pub(crate) async fn clear(
    worker: &Worker,
    aggregate: &UploadAggregate,
    ended_by: Timestamp,
) -> Result<(), ReactionError> {
    let mut loaded = worker.repository.load(aggregate).await?;
    let command = Command::ClearQuarantine { ended_by };
    if !matches!(waybill_domain::upload::decide(&loaded.state, command.clone()), Ok(Some(_))) {
        return Ok(());
    }
    delete_uncopied(worker, aggregate, &loaded.state).await?;
    let context = worker.context(Causation::Request(new_id()));
    worker.repository.execute_from(aggregate, &mut loaded, command, &context).await?;
    Ok(())
}
