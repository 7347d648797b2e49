//! Deletion of several objects with one request.

use super::S3Store;
use super::errors::{classify, unavailable};
use crate::{ObjectStore, StoreError};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::{StreamExt, stream};
use std::sync::atomic::Ordering;

/// Number of concurrent deletions if the store accepts only one key per request.
const DELETES_AT_ONCE: usize = 8;

impl S3Store {
    /// Deletes objects, one by one if the store does not support deleting several. Returns the results in the order of `keys`.
    pub(super) async fn delete_objects(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let is_known = self.deletes_many.load(Ordering::Relaxed);
        if keys.len() > 1 && is_known && matches!(self.keeps_versions().await, Ok(false)) {
            match self.delete_at_once(keys).await {
                Ok(done) => return done,
                // The store may be down temporarily.
                Err(StoreError::Unavailable { .. }) => {}
                // Not every store supports this request.
                Err(_) => self.deletes_many.store(false, Ordering::Relaxed),
            }
        }
        let deletions: Vec<_> = keys.iter().map(|key| self.delete(key)).collect();
        stream::iter(deletions).buffered(DELETES_AT_ONCE).collect().await
    }

    async fn delete_at_once(&self, keys: &[String]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let operation = "deleting objects";
        let failed = |error: aws_sdk_s3::error::BuildError| unavailable(operation, error);
        let objects: Result<Vec<ObjectIdentifier>, _> =
            keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let wanted =
            Delete::builder().set_objects(Some(objects.map_err(failed)?)).quiet(true).build().map_err(failed)?;
        let request = self.client.delete_objects().bucket(&self.bucket).delete(wanted);
        let answer = request.send().await.map_err(|error| classify(operation, &error))?;
        let what_became_of = |key: &String| {
            let error = answer.errors().iter().find(|error| error.key() == Some(key))?;
            let code = error.code().unwrap_or_default();
            Some(match code {
                "NoSuchKey" | "NotFound" => return None,
                "AccessDenied" | "MethodNotAllowed" => StoreError::Refused { operation, code: code.to_owned() },
                _ => unavailable(operation, format!("{code}: {}", error.message().unwrap_or_default())),
            })
        };
        Ok(keys.iter().map(|key| what_became_of(key).map_or(Ok(()), Err)).collect())
    }
}
