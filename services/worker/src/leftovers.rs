//! Keeps a list of objects that the store refused to delete, because they are locked or because our access key lacks a
//! permission. Nothing waits for these deletions. The list is a key-value bucket of NATS, and the sweep retries its
//! entries.

use crate::Worker;
use crate::metrics::LEFTOVERS;
use bytes::Bytes;
use std::time::Duration;
use waybill_event_log::{Bucket, BucketError};
use waybill_object_store::StoreError;
use waybill_read_model::queries::Share;
use waybill_repository::Busy;
use waybill_service_kit::now;

/// Maximum number of leftovers that one round retries.
const BATCH: usize = 500;
/// Beginnings of the bucket's keys. The key of an object or of a multipart upload follows, or a prefix of objects.
const OBJECT: &str = "object/";
const MULTIPART: &str = "multipart/";
const PREFIX: &str = "prefix/";

/// The result of deleting something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// The object is deleted.
    Done,
    /// The store refused the deletion. The sweep retries it.
    Later,
}

/// Time of the next attempt in milliseconds since 1970, and the id of a multipart upload (empty for objects and
/// prefixes).
struct Leftover {
    due_at: i64,
    upload_id: String,
}

impl Leftover {
    fn to_value(&self) -> Bytes {
        Bytes::from(format!("{} {}", self.due_at, self.upload_id))
    }

    fn from_value(value: &[u8]) -> Option<Self> {
        let (due_at, upload_id) = str::from_utf8(value).ok()?.split_once(' ')?;
        Some(Self { due_at: due_at.parse().ok()?, upload_id: upload_id.to_owned() })
    }
}

impl Worker {
    /// Deletes an object, or notes it for later if the store refuses the deletion.
    ///
    /// # Errors
    /// If the store does not answer, or the key cannot be noted.
    pub(crate) async fn delete(&self, key: &str) -> Result<Deletion, StoreError> {
        let deleted = self.store.delete(key).await;
        self.keep_if_refused(deleted, format!("{OBJECT}{key}"), String::new()).await
    }

    /// Deletes an object like [`Self::delete`], in one request with other objects that are deleted at the same time.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub(crate) async fn delete_with_others(&self, key: &str) -> Result<Deletion, StoreError> {
        let deleted = self.deletions.ask((), key.to_owned()).await;
        let busy = |busy: Busy| StoreError::Unavailable { operation: "deleting objects", reason: busy.to_string() };
        self.keep_if_refused(deleted.unwrap_or_else(|error| Err(busy(error))), format!("{OBJECT}{key}"), String::new())
            .await
    }

    /// Deletes up to 1,000 objects, many with one request. Notes those that the store refuses to delete for later.
    /// Returns the number of deleted objects.
    ///
    /// # Errors
    /// As [`Self::delete`], after all deletions were tried.
    pub(crate) async fn delete_many(&self, keys: &[String]) -> Result<usize, StoreError> {
        let (mut gone, mut failed) = (0, None);
        for (key, deleted) in keys.iter().zip(self.store.delete_many(keys).await) {
            match self.keep_if_refused(deleted, format!("{OBJECT}{key}"), String::new()).await {
                Ok(deletion) => gone += usize::from(deletion == Deletion::Done),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(gone), Err)
    }

    /// Aborts a multipart upload, or notes it for later if the store refuses.
    ///
    /// # Errors
    /// As [`Self::delete`].
    pub(crate) async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<Deletion, StoreError> {
        let aborted = self.store.abort_multipart(key, upload_id).await;
        self.keep_if_refused(aborted, format!("{MULTIPART}{key}"), upload_id.to_owned()).await
    }

    /// Notes a prefix whose objects must be deleted later because the store refuses to list them.
    ///
    /// # Errors
    /// If the prefix cannot be noted.
    pub(crate) async fn keep_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let refused = StoreError::Refused { operation: "listing objects to delete", code: "AccessDenied".to_owned() };
        self.keep_if_refused(Err(refused), format!("{PREFIX}{prefix}"), String::new()).await.map(drop)
    }

    async fn keep_if_refused(
        &self,
        outcome: Result<(), StoreError>,
        name: String,
        upload_id: String,
    ) -> Result<Deletion, StoreError> {
        match outcome {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(Deletion::Done),
            Err(refused @ StoreError::Refused { .. }) => {
                tracing::error!(error = %refused, "the store refused to delete an object; the sweep tries again");
                // The entry is due immediately. The first round that fails postpones it.
                let leftover = Leftover { due_at: 0, upload_id };
                self.leftovers.put(&name, leftover.to_value()).await.map_err(|error| {
                    tracing::warn!(%error, "cannot note an object that must be deleted later");
                    refused
                })?;
                Ok(Deletion::Later)
            }
            Err(error) => Err(error),
        }
    }

    async fn try_again(&self, name: &str, leftover: &Leftover) -> Result<(), StoreError> {
        if let Some(key) = name.strip_prefix(OBJECT) {
            self.store.delete(key).await
        } else if let Some(key) = name.strip_prefix(MULTIPART) {
            self.store.abort_multipart(key, &leftover.upload_id).await
        } else if let Some(prefix) = name.strip_prefix(PREFIX) {
            loop {
                let keys = self.store.list(prefix).await?;
                // Objects that the store refuses to delete have entries of their own.
                if keys.is_empty() || self.delete_many(&keys).await? == 0 {
                    return Ok(());
                }
            }
        } else {
            Ok(())
        }
    }
}

/// Retries the entries of a share that are due. An entry that fails is due again after `pause`.
///
/// # Errors
/// If the bucket does not answer.
pub(crate) async fn sweep(worker: &Worker, pause: Duration, share: Share) -> Result<(), BucketError> {
    let names = worker.leftovers.keys().await?;
    LEFTOVERS.set(i64::try_from(names.len()).unwrap_or(i64::MAX));
    let mut tried = 0;
    let is_ours = |name: &String| share.has(name.bytes().map(u64::from).sum());
    for name in names.into_iter().filter(is_ours) {
        if tried == BATCH {
            break;
        }
        let Some(leftover) = due(&worker.leftovers, &name).await? else { continue };
        tried += 1;
        match worker.try_again(&name, &leftover).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => worker.leftovers.delete(&name).await?,
            Err(error) => {
                tracing::debug!(%error, "the store still refuses a deletion");
                let due_at = now().0.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
                worker.leftovers.put(&name, Leftover { due_at, ..leftover }.to_value()).await?;
            }
        }
    }
    Ok(())
}

async fn due(leftovers: &Bucket, name: &str) -> Result<Option<Leftover>, BucketError> {
    let entry = leftovers.get(name).await?;
    Ok(entry.and_then(|entry| Leftover::from_value(&entry.value)).filter(|leftover| leftover.due_at <= now().0))
}
