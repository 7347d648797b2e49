//! The object store: S3 in [`s3`], a store in memory with injectable faults in [`memory`].
//!
//! Every write carries its CRC-64/NVME, so that the store refuses bytes that changed on the way. No call here repeats
//! a write by itself: how often a part was sent is a fact that verification needs.

mod ahead;
mod error;
mod made_of;
pub mod memory;
pub mod presign;
pub mod s3;

pub use ahead::{ObjectRange, ReadAhead};
pub use error::StoreError;
pub use made_of::KnownPart;

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::stream::BoxStream;

/// A CRC of parts, of which the store makes that of the object (the S3 user guide, "Checking object integrity",
/// FULL_OBJECT). It is announced before the first part; some stores want those of the parts again in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crc {
    /// That of [`ObjectStore::upload_part`].
    Crc64Nvme,
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
}

impl Crc {
    /// Returns the name that `x-amz-checksum-algorithm` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
        }
    }
}

/// The CRC of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartCrc {
    /// Which one.
    pub crc: Crc,
    /// Its value in base64, as S3 writes it.
    pub value: String,
}

impl PartCrc {
    /// That of [`ObjectStore::upload_part`].
    pub fn crc64nvme(crc64nvme: u64) -> Self {
        Self { crc: Crc::Crc64Nvme, value: BASE64.encode(crc64nvme.to_be_bytes()) }
    }

    /// A CRC-64/NVME as S3 writes it.
    fn parse_crc64nvme(value: &str) -> Option<u64> {
        Some(u64::from_be_bytes(BASE64.decode(value).ok()?.try_into().ok()?))
    }
}

/// A part as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// From 1.
    pub part_number: u32,
    /// Bytes.
    pub size_bytes: u64,
    /// What the store answered when it was written.
    pub etag: String,
    /// Its CRC, where the store lists it.
    pub crc: Option<PartCrc>,
}

impl ListedPart {
    /// Whether this is its `ETag`: stores and clients quote one in some places and not in others.
    pub fn has_etag(&self, etag: &str) -> bool {
        self.etag.trim_matches('"') == etag.trim_matches('"')
    }
}

/// A part that an object is to be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// From 1.
    pub part_number: u32,
    /// What the store answered when it was written.
    pub etag: String,
    /// Its CRC, if one was announced and is known.
    pub crc: Option<PartCrc>,
}

/// An object as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size.
    pub size_bytes: u64,
    /// What tells this content of the key from any other; empty where the store has no such thing.
    pub etag: String,
    /// CRC-64/NVME of all of its bytes, where the store says it.
    pub crc64nvme: Option<u64>,
}

/// An object that is being read.
pub struct ObjectBody {
    /// Bytes of the body, not of the object.
    pub length: u64,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl ObjectBody {
    /// The whole body in one piece; for small ones.
    ///
    /// # Errors
    /// Where reading breaks.
    pub async fn collect(mut self) -> Result<Bytes, StoreError> {
        use futures_util::StreamExt;
        let mut all = bytes::BytesMut::with_capacity(usize::try_from(self.length).unwrap_or(0));
        while let Some(bytes) = self.bytes.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all.freeze())
    }
}

/// The CRC-64/NVME of some bytes.
pub fn crc64nvme(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// Objects in one bucket.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// The bucket's name.
    fn bucket(&self) -> &str;

    /// Makes the bucket where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn ensure_bucket(&self) -> Result<(), StoreError>;

    /// Whether the bucket answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::NotFound`].
    async fn check(&self) -> Result<(), StoreError>;

    /// Puts a whole object; answers with its `ETag`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the bytes that arrived are others; [`StoreError::Unavailable`].
    async fn put(&self, key: &str, bytes: Bytes, crc64nvme: u64) -> Result<String, StoreError>;

    /// Begins a multipart upload; answers with the store's id. Parts may then have no other checksum than
    /// `crc`. Without one they have none, or one that the store takes unannounced.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn create_multipart(&self, key: &str, crc: Option<Crc>) -> Result<String, StoreError>;

    /// Puts one part; answers with its `ETag`.
    ///
    /// # Errors
    /// As [`ObjectStore::put`]; [`StoreError::NoSuchUpload`].
    async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        part_number: u32,
        bytes: Bytes,
        crc64nvme: u64,
    ) -> Result<String, StoreError>;

    /// One part of an open multipart upload, if it is there; more than once where the store lists what was written to
    /// its slot before, too.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::Unavailable`].
    async fn part(&self, key: &str, upload_id: &str, part_number: u32) -> Result<Vec<ListedPart>, StoreError>;

    /// All parts of an open multipart upload, by number.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::Unavailable`].
    async fn list_parts(&self, key: &str, upload_id: &str) -> Result<Vec<ListedPart>, StoreError>;

    /// Makes an object of the parts.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], also where it was completed before; [`StoreError::Unavailable`].
    async fn complete_multipart(&self, key: &str, upload_id: &str, parts: &[CompletedPart]) -> Result<(), StoreError>;

    /// The open multipart uploads of keys that begin with `prefix`, as key and the store's id; 1,000 at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list_multiparts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;

    /// Copies an object, if it still is `of`, to another key, without its bytes coming here. May take minutes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Unavailable`], also if it is another object by now.
    async fn copy(&self, from: &str, to: &str, of: &ObjectInfo) -> Result<(), StoreError>;

    /// Drops an open multipart upload; one that is gone is no error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn abort_multipart(&self, key: &str, upload_id: &str) -> Result<(), StoreError>;

    /// The object of a key; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn info(&self, key: &str) -> Result<Option<ObjectInfo>, StoreError>;

    /// The size of an object; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.info(key).await?.map(|info| info.size_bytes))
    }

    /// Reads `length` bytes from `offset`; to the end of the object where `length` is `None`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`].
    async fn get(&self, key: &str, offset: u64, length: Option<u64>) -> Result<ObjectBody, StoreError>;

    /// Deletes an object; one that is gone is no error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Deletes up to 1,000 objects, with one request if the store can. Returns what became of each, as of [`ObjectStore::delete`].
    async fn delete_many(&self, keys: &[String]) -> Vec<Result<(), StoreError>> {
        let mut done = Vec::with_capacity(keys.len());
        for key in keys {
            done.push(self.delete(key).await);
        }
        done
    }

    /// Keys that begin with `prefix`, 1,000 at most.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;
}
