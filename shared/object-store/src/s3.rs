//! Object store that speaks the S3 protocol.

mod executor;
mod lifecycle;
mod listing;
mod reading;
mod versions;

pub use lifecycle::LifecycleRule;
pub use listing::{Listed, Marker};

use crate::{CompletedPart, Crc, ListedPart, ObjectBody, ObjectInfo, ObjectStore, PartCrc, StoreError};
use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart as SdkPart, CorsConfiguration, CorsRule,
    Delete, ObjectIdentifier, Part, ServerSideEncryption,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Maximum number of listed writes to one part number, for stores that list all of them.
const REWRITES_LISTED: i32 = 10;
/// Size in bytes up to which an object is copied in one request. Larger objects are copied in parts of this size. S3
/// allows 5 GiB, but a store answers only after it has copied everything.
const COPY_BYTES: u64 = 256 * 1_024 * 1_024;
/// Number of parts that are copied concurrently.
const COPIES: usize = 4;
/// Timeout for copying one part. Some stores copy only 5 MB/s.
const COPY_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Number of concurrent deletions if the store accepts only one key per request.
const DELETES_AT_ONCE: usize = 8;

/// Maximum number of attempts for a request whose answer is lost or that the store asks to repeat.
const ATTEMPTS: u32 = 3;
/// Maximum time of a request, including all attempts, until its answer begins.
const PATIENCE: Duration = Duration::from_secs(70);

/// Server-side encryption of objects (S3 user guide, "Protecting data with server-side encryption").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// The default of the bucket.
    #[default]
    AsTheBucket,
    /// Keys that the store manages (SSE-S3).
    Managed,
    /// A key of a key management service (SSE-KMS): this key, or the default key if it is `None`.
    Kms(Option<String>),
}

impl Encryption {
    fn method(&self) -> Option<ServerSideEncryption> {
        match self {
            Self::AsTheBucket => None,
            Self::Managed => Some(ServerSideEncryption::Aes256),
            Self::Kms(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Self::Kms(key) => key.clone(),
            Self::AsTheBucket | Self::Managed => None,
        }
    }
}

/// Address, name and credentials of a bucket.
#[derive(Clone)]
pub struct S3Config {
    /// URL of the store, such as `http://127.0.0.1:8333`; `None` for the endpoint of Amazon in the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Id of the access key.
    pub access_key_id: String,
    /// Secret of the access key.
    pub secret_access_key: String,
    /// Encryption of new objects.
    pub encryption: Encryption,
}

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
        let http =
            aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
        let credentials =
            Credentials::new(&config.access_key_id, &config.secret_access_key, None, None, "waybill-settings");
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(60))
            .operation_timeout(PATIENCE)
            .build();
        let mut builder = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .http_client(executor::OnRuntime::here(http))
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
            keeps_versions: Arc::default(),
            deletes_many: Arc::new(AtomicBool::new(true)),
        }
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

    /// Allows web pages of these origins to send requests with presigned URLs to the bucket and to read the `ETag` of
    /// the answers. Replaces the CORS rules of the bucket.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn allow_origins(&self, origins: &[String]) -> Result<(), StoreError> {
        let operation = "setting the bucket's CORS rules";
        let failed = |error: aws_sdk_s3::error::BuildError| unavailable(operation, error);
        let rule = CorsRule::builder()
            .set_allowed_origins(Some(origins.to_vec()))
            .set_allowed_methods(Some(["GET", "PUT", "POST", "DELETE"].map(str::to_owned).to_vec()))
            .allowed_headers("*")
            .expose_headers("ETag")
            .max_age_seconds(3_600)
            .build()
            .map_err(failed)?;
        let rules = CorsConfiguration::builder().cors_rules(rule).build().map_err(failed)?;
        let request = self.client.put_bucket_cors().bucket(&self.bucket).cors_configuration(rules);
        request.send().await.map(drop).map_err(|error| classify(operation, &error))
    }
}

impl S3Store {
    /// Returns `true` if new objects are written with an explicit encryption.
    pub fn encrypts(&self) -> bool {
        self.encryption != Encryption::AsTheBucket
    }

    /// Returns the encryption method of an object, or `None` if the store reports none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn encryption_of(&self, key: &str) -> Result<Option<String>, StoreError> {
        let answer = self.client.head_object().bucket(&self.bucket).key(key).send().await;
        let answer = answer.map_err(|error| classify("reading the metadata of an object", &error))?;
        Ok(answer.server_side_encryption.map(|method| method.as_str().to_owned()))
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
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        answer.e_tag.ok_or_else(|| unavailable(operation, "the answer has no ETag"))
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
        let operation = "copying an object";
        let source = Source { path: format!("{}/{from}", self.bucket), of };
        if of.size_bytes <= COPY_BYTES {
            let request = self
                .slow
                .copy_object()
                .bucket(&self.bucket)
                .key(to)
                .copy_source(&source.path)
                .set_copy_source_if_match(source.etag())
                .set_server_side_encryption(self.encryption.method())
                .set_ssekms_key_id(self.encryption.key());
            return request.send().await.map(drop).map_err(|error| classify(operation, &error));
        }
        let upload_id = self.create_multipart(to, None).await?;
        let copied = self.copy_parts(&source, to, &upload_id).await;
        let completed = match copied {
            Ok(parts) => self.complete_multipart(to, &upload_id, &parts).await,
            Err(error) => Err(error),
        };
        if completed.is_err() {
            self.abort_multipart(to, &upload_id).await?;
        }
        completed
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

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let answer = request.send().await.map_err(|error| classify("listing objects", &error))?;
        Ok(answer.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect())
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

/// The source of a copy.
struct Source<'a> {
    /// Bucket and key, separated by a slash.
    path: String,
    of: &'a ObjectInfo,
}

impl Source<'_> {
    fn etag(&self) -> Option<String> {
        Some(self.of.etag.clone()).filter(|etag| !etag.is_empty())
    }
}

impl S3Store {
    async fn copy_parts(
        &self,
        source: &Source<'_>,
        to: &str,
        upload_id: &str,
    ) -> Result<Vec<CompletedPart>, StoreError> {
        let count = u32::try_from(source.of.size_bytes.div_ceil(COPY_BYTES)).unwrap_or(u32::MAX);
        let parts = (1..=count).map(|part_number| self.copy_part(source, to, upload_id, part_number));
        stream::iter(parts).buffered(COPIES).try_collect().await
    }

    async fn copy_part(
        &self,
        source: &Source<'_>,
        to: &str,
        upload_id: &str,
        part_number: u32,
    ) -> Result<CompletedPart, StoreError> {
        let operation = "copying a part";
        let offset = u64::from(part_number - 1) * COPY_BYTES;
        let end = offset.saturating_add(COPY_BYTES).min(source.of.size_bytes);
        let request = self.slow.upload_part_copy().bucket(&self.bucket).key(to).upload_id(upload_id);
        let answer = request
            .part_number(i32::try_from(part_number).unwrap_or(i32::MAX))
            .copy_source(&source.path)
            .set_copy_source_if_match(source.etag())
            .copy_source_range(format!("bytes={offset}-{}", end - 1))
            .send()
            .await
            .map_err(|error| classify(operation, &error))?;
        let etag = answer.copy_part_result.and_then(|part| part.e_tag);
        let etag = etag.ok_or_else(|| unavailable(operation, "the answer has no ETag"))?;
        Ok(CompletedPart { part_number, etag, crc: None })
    }
}

fn unavailable(operation: &'static str, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { operation, reason: reason.to_string() }
}

/// Returns the message of an error and of its causes. Omits the answer of the store, which contains object keys.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Classifies an error of the SDK by its S3 error code, or by its status if the answer has no body.
fn classify<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
    error: &SdkError<E>,
) -> StoreError {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some("NoSuchUpload"), _) => StoreError::NoSuchUpload { operation },
        (Some("NoSuchKey" | "NotFound" | "NoSuchBucket"), _) | (None, Some(404)) => StoreError::NotFound { operation },
        (Some("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch"), _) => StoreError::Corrupt { operation },
        (Some(code @ ("InvalidPart" | "InvalidPartOrder" | "EntityTooSmall" | "MalformedXML")), _) => {
            StoreError::PartsInvalid { operation, code: code.to_owned() }
        }
        (Some(code), Some(403 | 405 | 501)) => StoreError::Refused { operation, code: code.to_owned() },
        (None, Some(status @ (403 | 405 | 501))) => StoreError::Refused { operation, code: status.to_string() },
        (Some(code), _) => unavailable(operation, format!("{code}: {}", error.message().unwrap_or_default())),
        // There is no answer, or it cannot be read.
        (None, Some(200..=299) | None) => unavailable(operation, causes(error)),
        (None, Some(status)) => unavailable(operation, format!("status {status}")),
    }
}
