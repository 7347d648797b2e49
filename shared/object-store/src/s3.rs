//! Object store that speaks the S3 protocol.

mod config;
mod copying;
mod credentials;
mod deleting;
mod encrypting;
mod errors;
mod executor;
mod lifecycle;
mod listing;
mod locking;
mod reading;
mod restoring;
mod versions;

pub use config::{Encryption, S3Config};
pub use credentials::StoreCredentials;
pub(crate) use credentials::time_left;
pub use lifecycle::LifecycleRule;
pub use listing::{Listed, Marker};

use crate::{CompletedPart, Crc, ListedPart, ObjectBody, ObjectInfo, ObjectStore, PartCrc, StoreError};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart as SdkPart, CorsConfiguration, CorsRule, Part,
    StorageClass,
};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
pub(crate) use errors::causes;
use errors::{classify, unavailable};
pub(crate) use executor::http_client;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of listed writes to one part number, for stores that list all of them.
const REWRITES_LISTED: i32 = 10;
/// Id of the CORS rule that Waybill sets.
const CORS_RULE: &str = "waybill";
/// Timeout for copying one part. Some stores copy only 5 MB/s.
const COPY_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Maximum number of attempts for a request whose answer is lost or that the store asks to repeat.
const ATTEMPTS: u32 = 3;
/// Maximum time of a request, including all attempts, until its answer begins.
const PATIENCE: Duration = Duration::from_secs(70);

/// Client for a bucket with the S3 protocol.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    /// For parts. It has no retries, because the log records how often a part was sent.
    once: Client,
    /// For copies, which take long.
    slow: Client,
    bucket: String,
    encryption: Encryption,
    storage_class: Option<StorageClass>,
    /// The time of the last check of the bucket's versioning, and `true` if the bucket keeps versions.
    keeps_versions: Arc<Mutex<Option<(Instant, bool)>>>,
    /// `false` after the store has rejected a request that deletes several objects.
    deletes_many: Arc<AtomicBool>,
}

impl S3Store {
    /// Creates a client for the bucket. It connects when it is first used. Its connections run on the current tokio
    /// runtime.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn new(config: &S3Config) -> Self {
        let http = http_client();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(60))
            .operation_timeout(PATIENCE)
            .build();
        let mut builder = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(config.credentials.provider(&config.region, http.clone()))
            // The provider keeps the credentials itself.
            .identity_cache(IdentityCache::no_cache())
            .http_client(http)
            .force_path_style(config.endpoint.is_some())
            // Waybill computes checksums itself, together with the digests of the bytes.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts.clone());
        builder.set_endpoint_url(config.endpoint.clone());
        // A store closes idle connections, possibly just when a request is sent on one.
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(Duration::from_millis(50))
            .with_max_backoff(Duration::from_secs(1));
        Self {
            client: Client::from_conf(builder.clone().retry_config(retries).build()),
            once: Client::from_conf(builder.clone().retry_config(RetryConfig::disabled()).build()),
            slow: Client::from_conf(
                builder
                    .retry_config(RetryConfig::disabled())
                    .timeout_config(timeouts.to_builder().read_timeout(COPY_WITHIN).disable_operation_timeout().build())
                    .build(),
            ),
            bucket: config.bucket.clone(),
            encryption: config.encryption.clone(),
            storage_class: config.storage_class.as_deref().map(StorageClass::from),
            keeps_versions: Arc::default(),
            deletes_many: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Allows web pages of these origins to send requests with presigned URLs to the bucket and to read the `ETag` of
    /// the answers. Rules of the bucket that others have set are kept.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn allow_origins(&self, origins: &[String]) -> Result<(), StoreError> {
        let operation = "setting the bucket's CORS rules";
        let known = match self.client.get_bucket_cors().bucket(&self.bucket).send().await {
            Ok(known) => known.cors_rules.unwrap_or_default(),
            Err(error) if error.code() == Some("NoSuchCORSConfiguration") => Vec::new(),
            Err(error) => return Err(classify(operation, &error)),
        };
        let of_others = known.into_iter().filter(|rule| rule.id() != Some(CORS_RULE));
        let failed = |error: aws_sdk_s3::error::BuildError| unavailable(operation, error);
        let rule = CorsRule::builder()
            .id(CORS_RULE)
            .set_allowed_origins(Some(origins.to_vec()))
            .set_allowed_methods(Some(["GET", "PUT", "POST", "DELETE"].map(str::to_owned).to_vec()))
            .allowed_headers("*")
            .expose_headers("ETag")
            .max_age_seconds(3_600)
            .build()
            .map_err(failed)?;
        let rules = of_others.chain([rule]).collect();
        let rules = CorsConfiguration::builder().set_cors_rules(Some(rules)).build().map_err(failed)?;
        let request = self.client.put_bucket_cors().bucket(&self.bucket).cors_configuration(rules);
        request.send().await.map(drop).map_err(|error| classify(operation, &error))
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn ensure_bucket(&self) -> Result<(), StoreError> {
        if self.check().await.is_ok() {
            return Ok(());
        }
        match self.client.create_bucket().bucket(&self.bucket).send().await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some("BucketAlreadyOwnedByYou" | "BucketAlreadyExists")) => Ok(()),
            Err(error) => Err(classify("creating the bucket", &error)),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        let answer = self.client.head_bucket().bucket(&self.bucket).send().await;
        answer.map(drop).map_err(|error| classify("checking the bucket", &error))
    }

    async fn put(&self, key: &str, bytes: Bytes, crc64nvme: u64) -> Result<String, StoreError> {
        let operation = "putting an object";
        let answer = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .checksum_crc64_nvme(PartCrc::crc64nvme(crc64nvme).value)
            .set_server_side_encryption(self.encryption.method())
            .set_ssekms_key_id(self.encryption.key())
            .set_storage_class(self.storage_class.clone())
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        answer.e_tag.ok_or_else(|| unavailable(operation, "the answer has no ETag"))
    }

    async fn locks(&self) -> Result<bool, StoreError> {
        self.has_object_lock().await
    }

    async fn put_locked(&self, key: &str, bytes: Bytes, until: Option<i64>) -> Result<(), StoreError> {
        self.put_with_lock(key, bytes, until).await
    }

    async fn create_multipart(&self, key: &str, crc: Option<Crc>) -> Result<String, StoreError> {
        let operation = "creating a multipart upload";
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .set_checksum_algorithm(crc.map(|crc| crc.name().into()))
            .set_checksum_type(crc.map(|_| ChecksumType::FullObject))
            .set_server_side_encryption(self.encryption.method())
            .set_ssekms_key_id(self.encryption.key())
            .set_storage_class(self.storage_class.clone())
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        answer.upload_id.ok_or_else(|| unavailable(operation, "the answer has no upload id"))
    }

    async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
    ) -> Result<String, StoreError> {
        let operation = "uploading a part";
        let answer = self
            .once
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .part_number(i32::try_from(part_number).unwrap_or(i32::MAX))
            .checksum_crc64_nvme(PartCrc::crc64nvme(crc64nvme).value)
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        answer.e_tag.ok_or_else(|| unavailable(operation, "the answer has no ETag"))
    }

    async fn part(&self, key: &str, upload_id: &str, part_number: u32) -> Result<Vec<ListedPart>, StoreError> {
        let before = part_number.saturating_sub(1);
        let request = self.client.list_parts().bucket(&self.bucket).key(key).upload_id(upload_id);
        let page = request
            .part_number_marker(before.to_string())
            .max_parts(REWRITES_LISTED)
            .send()
            .await
            .map_err(|error| classify("listing a part", &error))?;
        let is_it = |part: &ListedPart| part.part_number == part_number;
        if page.parts().is_empty() && before > 0 {
            // MinIO lists no parts after a marker that is not an existing part.
            let all = self.list_parts(key, upload_id).await?;
            return Ok(all.into_iter().filter(is_it).collect());
        }
        Ok(page.parts().iter().map(listed).filter(is_it).collect())
    }

    async fn list_parts(&self, key: &str, upload_id: &str) -> Result<Vec<ListedPart>, StoreError> {
        let operation = "listing parts";
        let request = self.client.list_parts().bucket(&self.bucket).key(key).upload_id(upload_id);
        let mut pages = request.into_paginator().send();
        let mut parts = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(operation, &error))?;
            parts.extend(page.parts().iter().map(listed));
        }
        Ok(parts)
    }

    async fn complete_multipart(&self, key: &str, upload_id: &str, parts: &[CompletedPart]) -> Result<(), StoreError> {
        let parts = parts
            .iter()
            .map(|part| {
                let number = i32::try_from(part.part_number).unwrap_or(i32::MAX);
                let builder = SdkPart::builder().part_number(number).e_tag(&part.etag);
                match &part.crc {
                    Some(PartCrc { crc: Crc::Crc64Nvme, value }) => builder.checksum_crc64_nvme(value),
                    Some(PartCrc { crc: Crc::Crc32, value }) => builder.checksum_crc32(value),
                    Some(PartCrc { crc: Crc::Crc32c, value }) => builder.checksum_crc32_c(value),
                    None => builder,
                }
                .build()
            })
            .collect();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await;
        answer.map(drop).map_err(|error| classify("completing a multipart upload", &error))
    }

    async fn list_multiparts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
        let answer = request.send().await.map_err(|error| classify("listing multipart uploads", &error))?;
        let open = answer.uploads().iter().filter_map(|upload| {
            let key = upload.key().filter(|key| key.starts_with(prefix))?;
            Some((key.to_owned(), upload.upload_id()?.to_owned()))
        });
        Ok(open.collect())
    }

    async fn copy(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError> {
        self.copy_object(from, to, of).await
    }

    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload_id);
        match request.send().await.map_err(|error| classify("aborting a multipart upload", &error)) {
            Ok(_) | Err(StoreError::NoSuchUpload { .. } | StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let operation = "reading the metadata of an object";
        let request = self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await.map_err(|error| classify(operation, &error)) {
            Ok(head) => {
                let length = head.content_length().and_then(|length| length.try_into().ok());
                let size_bytes = length.ok_or_else(|| unavailable(operation, "the answer has no length"))?;
                // For another type, the value is a checksum of the parts' checksums.
                let is_of_all = head.checksum_type() == Some(&ChecksumType::FullObject);
                let crc = head.checksum_crc64_nvme().filter(|_| is_of_all).and_then(PartCrc::parse_crc64nvme);
                Ok(Some(ObjectInfo { size_bytes, etag: head.e_tag.unwrap_or_default(), crc64nvme: crc }))
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<ObjectBody, StoreError> {
        reading::begin(&self.client, &self.bucket, key, offset, length).await
    }

    async fn restore(&self, key: &str) -> Result<bool, StoreError> {
        self.restore_object(key).await
    }

    /// Deletes an object with all of its versions.
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        if !self.keeps_versions().await? {
            return self.delete_version(key, None).await;
        }
        match self.versions(key).await {
            Ok(versions) => {
                for version in versions {
                    self.delete_version(key, Some(version)).await?;
                }
                Ok(())
            }
            // The access key may not list or delete versions, so only a delete marker can be written.
            Err(StoreError::Refused { .. }) => self.delete_version(key, None).await,
            Err(error) => Err(error),
        }
    }

    async fn delete_many(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        self.delete_objects(keys).await
    }

    async fn list_after(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        Ok(self.objects_after(prefix, after).await?.into_iter().map(|object| object.key).collect())
    }
}

fn listed(part: &Part) -> ListedPart {
    let crc = |crc, value: Option<&str>| value.map(|value| PartCrc { crc, value: value.to_owned() });
    ListedPart {
        crc: crc(Crc::Crc64Nvme, part.checksum_crc64_nvme())
            .or_else(|| crc(Crc::Crc32, part.checksum_crc32()))
            .or_else(|| crc(Crc::Crc32c, part.checksum_crc32_c())),
        part_number: part.part_number().and_then(|n| n.try_into().ok()).unwrap_or(0),
        size_bytes: part.size().and_then(|n| n.try_into().ok()).unwrap_or(0),
        etag: part.e_tag().unwrap_or_default().to_owned(),
    }
}
