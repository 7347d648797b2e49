//! Deletes the objects of an upload. This happens only after the event that ends the upload.

use super::ReactionError;
use crate::leftovers::Deletion;
use crate::{Worker, keys};
use waybill_domain::upload::State;
use waybill_object_store::StoreError;
use waybill_repository::{Aggregate, UploadAggregate, forget_snapshot};

/// Maximum number of pages of keys that one reaction deletes. An upload cannot stage nearly as many objects in that
/// time.
const PAGES: u32 = 1_000;

pub(super) async fn delete_object(
    worker: &Worker,
    aggregate: &UploadAggregate,
    state: &State,
) -> Result<(), ReactionError> {
    if let Some(multipart) = &state.multipart {
        worker.abort_multipart(&multipart.storage_key, &multipart.storage_upload_id).await?;
    }
    Ok(delete_all(worker, &keys::objects(aggregate.company, aggregate.upload)).await?)
}

/// Aborts all multipart uploads under a prefix.
pub(super) async fn abort_all(worker: &Worker, prefix: &str) -> Result<(), StoreError> {
    for _ in 0..PAGES {
        let open = match worker.store.list_multiparts(prefix).await {
            // The uploads cannot be listed. A lifecycle rule of the bucket must abort them.
            Err(refused @ StoreError::Refused { .. }) => {
                tracing::error!(error = %refused, "cannot list abandoned multipart uploads; they stay in the store");
                return Ok(());
            }
            open => open?,
        };
        if open.is_empty() {
            return Ok(());
        }
        let mut gone = 0;
        for (key, upload_id) in open {
            gone += usize::from(worker.abort_multipart(&key, &upload_id).await? == Deletion::Done);
        }
        if gone == 0 {
            // The store refused to delete the rest, which is noted for the sweep.
            return Ok(());
        }
    }
    Err(StoreError::Unavailable { operation: "aborting uploads", reason: "too many multipart uploads".to_owned() })
}

pub(super) async fn delete_staging(worker: &Worker, aggregate: &UploadAggregate) -> Result<(), ReactionError> {
    let key = waybill_schema::names::midstate_key(aggregate.upload);
    if let Err(error) = worker.midstates.delete(&key).await {
        tracing::debug!(upload_id = %aggregate.upload, %error, "cannot delete a midstate; it stays until it expires");
    }
    if let Err(error) = forget_snapshot(worker.log.as_ref(), aggregate.subject()).await {
        tracing::debug!(upload_id = %aggregate.upload, %error, "cannot delete the snapshot of an ended upload");
    }
    Ok(delete_all(worker, &keys::staging(aggregate.company, aggregate.upload)).await?)
}

pub(super) async fn delete_all(worker: &Worker, prefix: &str) -> Result<(), StoreError> {
    delete_others(worker, prefix, None).await
}

/// Deletes all objects under a prefix except `kept`, to which other files still refer. If that one is missing, because the log was
/// restored from an older backup or the store lost it, another object may have the only bytes, and nothing is deleted.
pub(super) async fn delete_others(worker: &Worker, prefix: &str, kept: Option<&str>) -> Result<(), StoreError> {
    if let Some(key) = kept
        && worker.store.size(key).await?.is_none()
    {
        tracing::warn!("an object to which files refer is missing; others with its prefix are kept");
        return Ok(());
    }
    for _ in 0..PAGES {
        let mut keys = match worker.store.list(prefix).await {
            // The sweep would delete the whole prefix.
            Err(StoreError::Refused { .. }) if kept.is_none() => return worker.keep_prefix(prefix).await,
            keys => keys?,
        };
        keys.retain(|key| kept != Some(key.as_str()));
        if keys.is_empty() {
            return Ok(());
        }
        if worker.delete_many(&keys).await? == 0 {
            // The store refused to delete the rest, which is noted for the sweep.
            return Ok(());
        }
    }
    Err(StoreError::Unavailable { operation: "deleting objects", reason: "too many objects".to_owned() })
}
