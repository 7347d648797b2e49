//! Access to the object store: [`s3`] for S3, and [`memory`] for a store in memory with injectable faults.
//!
//! Every write carries the CRC-64/NVME of its bytes, so that the store rejects bytes that were corrupted on the way.
//! Uploads of parts are never repeated here, because the verification needs to know how often a part was sent.

mod ahead;
mod error;
mod made_of;
pub mod memory;
pub mod presign;
pub mod s3;
mod tiers;

pub use ahead::{ObjectRange, ReadAhead};
pub use error::StoreError;
pub use made_of::KnownPart;
pub use tiers::{Cold, Tiers};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// Checksum algorithm of parts, from which the store computes the checksum of the object (S3 user guide, "Checking
/// object integrity", `FULL_OBJECT`). It is declared when the multipart upload is created. Some stores require the
/// checksums of the parts again when the upload is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crc {
    /// CRC-64/NVME, which [`ObjectStore::upload_part`] uses.
    Crc64Nvme,
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
}

impl Crc {
    /// Returns the name of the algorithm in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
        }
    }
}

/// The checksum of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCrc {
    /// The algorithm.
    pub crc: Crc,
    /// The checksum in base64, as S3 writes it.
    pub value: String,
}

impl PartCrc {
    /// Returns a CRC-64/NVME, which [`ObjectStore::upload_part`] uses.
    pub fn crc64nvme(crc64nvme: u64) -> Self {
        Self { crc: Crc::Crc64Nvme, value: BASE64.encode(crc64nvme.to_be_bytes()) }
    }

    /// Parses a CRC-64/NVME in base64, as S3 writes it.
    fn parse_crc64nvme(value: &str) -> Option<u64> {
        Some(u64::from_be_bytes(BASE64.decode(value).ok()?.try_into().ok()?))
    }
}

/// A part, as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Part number, from 1.
    pub part_number: u32,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The `ETag` that the store returned for the part.
    pub etag: String,
    /// The checksum, if the store lists it.
    pub crc: Option<PartCrc>,
}

impl ListedPart {
    /// Returns `true` if the part has this `ETag`. Quotes are ignored, because stores and clients use them
    /// inconsistently.
    pub fn has_etag(&self, etag: &str) -> bool {
        self.etag.trim_matches('"') == etag.trim_matches('"')
    }
}

/// A part of an object that is being completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Part number, from 1.
    pub part_number: u32,
    /// The `ETag` that the store returned for the part.
    pub etag: String,
    /// The checksum, if an algorithm was declared and the checksum is known.
    pub crc: Option<PartCrc>,
}

/// Metadata of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The `ETag`, which identifies this content of the key; empty if the store has none.
    pub etag: String,
    /// CRC-64/NVME of the whole object, if the store provides it.
    pub crc64nvme: Option<u64>,
}

/// The body of an object that is being read.
pub struct ObjectBody {
    /// Length of the body in bytes. It differs from the size of the object if a range was requested.
    pub length: u64,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl ObjectBody {
    /// Reads the whole body into memory. Intended for small objects.
    ///
    /// # Errors
    /// Any [`StoreError`] that occurs while the body is read.
    pub async fn collect(mut self) -> Result<Bytes, StoreError> {
        use futures_util::StreamExt;
        let mut all = bytes::BytesMut::with_capacity(usize::try_from(self.length).unwrap_or(0));
        while let Some(bytes) = self.bytes.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all.freeze())
    }
}

/// Returns the CRC-64/NVME of the bytes.
pub fn crc64nvme(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// The objects of one bucket.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Returns the name of the bucket.
    fn bucket(&self) -> &str;

    /// Creates the bucket if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn ensure_bucket(&self) -> Result<(), StoreError>;

    /// Checks that the bucket exists and answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::NotFound`].
    async fn check(&self) -> Result<(), StoreError>;

    /// Writes a whole object and returns its `ETag`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the bytes do not have the checksum; [`StoreError::Unavailable`].
    async fn put(&self, key: &str, bytes: Bytes, crc64nvme: u64) -> Result<String, StoreError>;

    /// Returns `true` if the bucket can lock objects: nobody can then change or delete an object before a time that its
    /// writer sets.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn locks(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Writes a whole object, and locks it until `until` in seconds since 1970 if there is such a time.
    ///
    /// # Errors
    /// The errors of [`ObjectStore::put`]; [`StoreError::Refused`] if the bucket cannot lock objects.
    async fn put_locked(&self, key: &str, bytes: Bytes, until: Option<i64>) -> Result<(), StoreError> {
        if until.is_some() {
            let operation = "putting a locked object";
            return Err(StoreError::Refused { operation, code: "NotImplemented".to_owned() });
        }
        let crc = crc64nvme(&bytes);
        self.put(key, bytes, crc).await.map(drop)
    }

    /// Creates a multipart upload and returns the store's id of it. Parts may only have checksums of the algorithm
    /// `crc`. If it is `None`, parts have no checksum, or one that the store accepts without declaration.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn create_multipart(&self, key: &str, crc: Option<Crc>) -> Result<String, StoreError>;

    /// Writes one part and returns its `ETag`.
    ///
    /// # Errors
    /// The errors of [`ObjectStore::put`]; [`StoreError::NoSuchUpload`].
    async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
    ) -> Result<String, StoreError>;

    /// Returns the part with this number of an open multipart upload, if it exists. Some stores also list earlier
    /// writes to the part; then several entries are returned.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::Unavailable`].
    async fn part(&self, key: &str, upload_id: &str, part_number: u32) -> Result<Vec<ListedPart>, StoreError>;

    /// Returns all parts of an open multipart upload, ordered by number.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::Unavailable`].
    async fn list_parts(&self, key: &str, upload_id: &str) -> Result<Vec<ListedPart>, StoreError>;

    /// Completes a multipart upload: the store creates the object from the parts.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], also if the upload was already completed; [`StoreError::PartsInvalid`];
    /// [`StoreError::Unavailable`].
    async fn complete_multipart(&self, key: &str, upload_id: &str, parts: &[CompletedPart]) -> Result<(), StoreError>;

    /// Returns the open multipart uploads whose keys begin with `prefix`, as pairs of key and the store's id; at most
    /// 1,000.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list_multiparts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;

    /// Copies an object to another key inside the store, if the object still has the metadata `of`. This can take
    /// minutes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Unavailable`], also if the object was replaced.
    async fn copy(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError>;

    /// Aborts an open multipart upload. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), StoreError>;

    /// Returns the metadata of an object, or `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError>;

    /// Returns the size of an object in bytes, or `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.info(key).await?.map(|info| info.size_bytes))
    }

    /// Reads `length` bytes from `offset`, or to the end of the object if `length` is `None`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Archived`], [`StoreError::Unavailable`].
    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<ObjectBody, StoreError>;

    /// Asks the store to make an object readable whose storage class does not allow reads. Returns `true` if the object
    /// can be read now; otherwise the caller asks again later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    async fn restore(&self, _key: &str) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Deletes an object. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Deletes up to 1,000 objects, with one request if the store supports it. Returns one result for each key, as
    /// [`ObjectStore::delete`] does.
    async fn delete_many(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut done = Vec::with_capacity(keys.len());
        for key in keys {
            done.push(self.delete(key).await);
        }
        done
    }

    /// Returns the keys that begin with `prefix`, at most 1,000.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.list_after(prefix, None).await
    }

    /// Returns the keys that begin with `prefix` and are greater than `after`, at most 1,000, in ascending order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list_after(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError>;
}
