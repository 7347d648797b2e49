//! Restoring of objects in archive storage classes (S3 user guide, "Restoring an archived object").

use super::S3Store;
use super::errors::classify;
use crate::StoreError;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{GlacierJobParameters, RestoreRequest, StorageClass, Tier};

/// Number of days for which the store keeps a readable copy. Waybill moves the bytes as soon as they can be read.
const DAYS: i32 = 3;

impl S3Store {
    /// Starts the restoring of an object, or returns `true` if the object can be read.
    pub(super) async fn restore_object(&self, key: &str) -> Result<bool, StoreError> {
        let operation = "restoring an object";
        let head = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let head = head.map_err(|error| classify(operation, &error))?;
        let needs_it = matches!(head.storage_class(), Some(StorageClass::Glacier | StorageClass::DeepArchive));
        if !needs_it && head.archive_status().is_none() {
            return Ok(true);
        }
        // The value is `ongoing-request="false", expiry-date="…"` (S3 API reference, HeadObject, `x-amz-restore`).
        if let Some(state) = head.restore() {
            return Ok(state.contains("ongoing-request=\"false\""));
        }
        let failed = |error: aws_sdk_s3::error::BuildError| super::unavailable(operation, error);
        let job = GlacierJobParameters::builder().tier(Tier::Standard).build().map_err(failed)?;
        let request = RestoreRequest::builder().days(DAYS).glacier_job_parameters(job).build();
        let asked = self.client.restore_object().bucket(&self.bucket).key(key).restore_request(request).send().await;
        match asked {
            Ok(_) => Ok(false),
            Err(error) if error.code() == Some("RestoreAlreadyInProgress") => Ok(false),
            Err(error) => Err(classify(operation, &error)),
        }
    }
}
