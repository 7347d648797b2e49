//! Taking over an object that a client made by itself, by presigned URLs: the client may write to its key for as long as
//! the URLs last, so it is copied to a key that no client knows, and the copy is what is hashed and read.

use super::ReactionError;
use crate::{Worker, keys};
use waybill_domain::Refusal;
use waybill_domain::upload::{Command, Phase, State};
use waybill_repository::{ExecuteError, Loaded, UploadAggregate, execute};
use waybill_schema::Causation;
use waybill_schema::events::{QuarantineCopiedV1, UploadKind};
use waybill_service_kit::now;

/// Copies the object, once it is there, and completes the upload.
pub(super) async fn take_over(
    worker: &Worker,
    aggregate: &UploadAggregate,
    loaded: &mut Loaded<State>,
    causation: Causation,
) -> Result<(), ReactionError> {
    let UploadKind::Quarantine { quarantine_key } = loaded.state.kind.clone() else { return Ok(()) };
    if loaded.state.phase != Phase::Active {
        return Ok(());
    }
    let context = worker.context(causation);
    if loaded.state.copied.is_none() {
        let Some(size_bytes) = worker.store.size(&quarantine_key).await? else {
            let is_over = loaded.state.quarantine_until.is_none_or(|until| now() >= until);
            // Nobody can make it any more with what was signed; a new signature is a new event.
            return if is_over { Ok(()) } else { Err(ReactionError::ObjectNotThere) };
        };
        let storage_key = keys::new_object(aggregate.company, aggregate.upload);
        let storage_bucket = worker.store.bucket().to_owned();
        let copied = QuarantineCopiedV1 { storage_bucket, storage_key, size_bytes, worker_id: worker.id };
        // Looked at first: what is too large is not copied.
        let fits = waybill_domain::upload::decide(&loaded.state, Command::CopyQuarantine(copied.clone()));
        let done = match fits {
            Ok(_) => {
                worker.store.copy(&quarantine_key, &copied.storage_key, size_bytes).await?;
                let command = Command::CopyQuarantine(copied);
                execute(worker.log.as_ref(), aggregate, loaded, &context, command).await.map(drop)
            }
            Err(refusal) => Err(refusal.into()),
        };
        match done {
            Ok(()) => {}
            Err(ExecuteError::Refused(refusal @ Refusal::SizeExceeded { .. })) => {
                let command = Command::Reject { code: refusal.code(), message: refusal.to_string() };
                execute(worker.log.as_ref(), aggregate, loaded, &context, command).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let command = Command::Complete { declared_sha256: None, now: now() };
    match execute(worker.log.as_ref(), aggregate, loaded, &context, command).await {
        // It ended meanwhile; what that calls for is done because of its end.
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what the client made, also what it left unfinished.
pub(super) async fn delete(worker: &Worker, aggregate: &UploadAggregate) -> Result<(), ReactionError> {
    let prefix = keys::quarantine(aggregate.company, aggregate.upload);
    for (key, upload_id) in worker.store.list_multiparts(&prefix).await? {
        worker.store.abort_multipart(&key, &upload_id).await?;
    }
    Ok(super::cleanup::delete_all(worker, &prefix).await?)
}
