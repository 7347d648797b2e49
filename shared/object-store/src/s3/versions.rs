//! Buckets with versioning, which keep overwritten and deleted objects. To delete an object there, all of its versions
//! must be deleted.

use super::{S3Store, classify};
use crate::StoreError;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// Interval at which the versioning of the bucket is checked.
const VERSIONING_ASKED_EVERY: Duration = Duration::from_secs(300);

impl S3Store {
    /// Enables versioning of the bucket.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_versions(&self) -> Result<(), StoreError> {
        let setting = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.client.put_bucket_versioning().bucket(&self.bucket).versioning_configuration(setting);
        request.send().await.map(drop).map_err(|error| classify("enabling versioning", &error))
    }

    /// Deletes the bucket. Some servers, such as SeaweedFS, delete its objects too. Others, such as AWS, refuse it if there are any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_bucket(&self) -> Result<(), StoreError> {
        let request = self.client.delete_bucket().bucket(&self.bucket);
        request.send().await.map(drop).map_err(|error| classify("deleting a bucket", &error))
    }

    /// Returns the ids of all versions of an object, including its delete markers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(&self, key: &str) -> Result<Vec<String>, StoreError> {
        let operation = "listing versions";
        let mut found = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(key);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.send().await.map_err(|error| classify(operation, &error))?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let marks = page.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()));
            found.extend(
                versions.chain(marks).filter(|(of, _)| *of == Some(key)).filter_map(|(_, id)| id.map(str::to_owned)),
            );
            key_marker = page.next_key_marker().map(str::to_owned);
            version_marker = page.next_version_id_marker().map(str::to_owned);
            // Keys are listed in order, and a key precedes all other keys that begin with it.
            if page.is_truncated() != Some(true) || key_marker.as_deref() != Some(key) {
                return Ok(found);
            }
        }
    }

    /// Returns `true` if versioning of the bucket is enabled or was enabled once.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the store does not allow the request; [`StoreError::Unavailable`].
    pub async fn versioning(&self) -> Result<bool, StoreError> {
        let answer = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
        let answer = answer.map_err(|error| classify("reading the versioning of the bucket", &error))?;
        Ok(answer.status().is_some())
    }

    pub(super) async fn keeps_versions(&self) -> Result<bool, StoreError> {
        let known = *self.keeps_versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keeps)) = known.filter(|(asked_at, _)| asked_at.elapsed() < VERSIONING_ASKED_EVERY) {
            return Ok(keeps);
        }
        let keeps = match self.versioning().await {
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            // The store does not support versioning or does not allow the request. Objects are then deleted without
            // versions.
            answer => answer.unwrap_or(false),
        };
        *self.keeps_versions.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), keeps));
        Ok(keeps)
    }

    pub(super) async fn delete_version(&self, key: &str, version: Option<String>) -> Result<(), StoreError> {
        let request = self.client.delete_object().bucket(&self.bucket).key(key).set_version_id(version);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match classify("deleting an object", &error) {
                StoreError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }
}
