//! Buckets with Object Lock, where nobody can change or delete an object before the end of its retention.

use super::{S3Store, classify};
use crate::{ObjectStore, PartCrc, StoreError, crc64nvme};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockEnabled, ObjectLockMode};
use bytes::Bytes;

impl S3Store {
    /// Creates the bucket with Object Lock if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the bucket exists without Object Lock, or if the store does not know Object Lock;
    /// [`StoreError::Unavailable`].
    pub async fn ensure_bucket_with_lock(&self) -> Result<(), StoreError> {
        let operation = "creating the bucket with Object Lock";
        if self.check().await.is_err() {
            let request = self.client.create_bucket().bucket(&self.bucket).object_lock_enabled_for_bucket(true);
            request.send().await.map_err(|error| classify(operation, &error))?;
        }
        if self.has_object_lock().await? {
            return Ok(());
        }
        Err(StoreError::Refused { operation, code: "the bucket exists without Object Lock".to_owned() })
    }

    /// Returns `true` if Object Lock is enabled for the bucket. A store that does not know Object Lock, or does not
    /// allow the question, has none.
    pub(super) async fn has_object_lock(&self) -> Result<bool, StoreError> {
        match self.client.get_object_lock_configuration().bucket(&self.bucket).send().await {
            Ok(answer) => {
                let enabled = answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
                Ok(enabled == Some(&ObjectLockEnabled::Enabled))
            }
            Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => Ok(false),
            Err(error) => match classify("reading the Object Lock of the bucket", &error) {
                error @ StoreError::Unavailable { .. } => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// Writes an object. With a time `until`, in seconds since 1970, in compliance mode: not even the owner of the
    /// bucket can shorten the retention.
    pub(super) async fn put_with_lock(&self, key: &str, bytes: Bytes, until: Option<i64>) -> Result<(), StoreError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_crc64_nvme(PartCrc::crc64nvme(crc64nvme(&bytes)).value)
            .set_server_side_encryption(self.encryption.method())
            .set_ssekms_key_id(self.encryption.key())
            .set_object_lock_mode(until.map(|_| ObjectLockMode::Compliance))
            .set_object_lock_retain_until_date(until.map(DateTime::from_secs))
            .body(ByteStream::from(bytes));
        request.send().await.map(drop).map_err(|error| classify("putting a locked object", &error))
    }
}
