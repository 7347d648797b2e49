//! Deletion of the manifests of archives that have expired.

use super::candidate::time_now;
use crate::Worker;
use waybill_object_store::StoreError;
use waybill_schema::names;

/// Time for which a manifest is kept after its end, in seconds, for downloads that began before it.
const KEPT_S: i64 = 3_600;

/// Deletes the manifests that have expired, at most 1,000. They are the first ones of the list.
pub(super) async fn delete_expired(worker: &Worker) -> Result<(), StoreError> {
    let until = u64::try_from(time_now().timestamp() - KEPT_S).unwrap_or(0);
    let keys = worker.store.list(names::ARCHIVES).await?;
    let expired = keys.iter().map_while(|key| names::archive_expiry(key).filter(|at| *at < until).map(|_| key.clone()));
    let expired: Vec<String> = expired.collect();
    if expired.is_empty() {
        return Ok(());
    }
    let deleted = worker.store.delete_many(&expired).await;
    tracing::info!(count = expired.len(), "deleted the lists of archives that have expired");
    deleted.into_iter().collect()
}
