//! Settings of a bucket.

use super::StoreCredentials;
use aws_sdk_s3::types::ServerSideEncryption;
use waybill_schema::StorageTier;

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
    pub(super) fn method(&self) -> Option<ServerSideEncryption> {
        match self {
            Self::AsTheBucket => None,
            Self::Managed => Some(ServerSideEncryption::Aes256),
            Self::Kms(_) => Some(ServerSideEncryption::AwsKms),
        }
    }

    pub(super) fn key(&self) -> Option<String> {
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
    /// Credentials.
    pub credentials: StoreCredentials,
    /// Encryption of new objects.
    pub encryption: Encryption,
    /// Storage class of new objects, such as `GLACIER`; `None` for the default of the bucket.
    pub storage_class: Option<String>,
}

impl S3Config {
    /// Returns the tier of the objects if this is the cold bucket.
    pub fn tier(&self) -> StorageTier {
        match self.storage_class.as_deref() {
            // These classes need RestoreObject (S3 user guide, "Working with archived objects").
            Some("GLACIER" | "DEEP_ARCHIVE") => StorageTier::Archive,
            _ => StorageTier::Cold,
        }
    }
}
