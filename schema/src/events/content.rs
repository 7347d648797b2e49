//! Events of content, which is an object that several files of a company refer to, or that replaced the object of one
//! file. Subject: `content.{sha256}`. Bytes that only one file has cause no such events before they are compressed or archived. An
//! object that lost its last reference is never used again: later files with the same bytes have objects of their own.

use crate::FileId;
use crate::tier::StorageTier;
use serde::{Deserialize, Serialize};

/// Several files have the same bytes. They now refer to the object of the first file. The objects of the others are
/// deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSharedV1 {
    /// The files. All refer to the object of the first one.
    pub file_ids: Vec<FileId>,
    /// Bucket of the object.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
    /// Size of the object in bytes.
    pub size_bytes: u64,
}

/// More files refer to the object. Their own objects are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReferencedV2 {
    /// The files, at most 64.
    pub file_ids: Vec<FileId>,
    /// Bucket of the object.
    pub storage_bucket: String,
    /// Key of the object.
    pub storage_key: String,
}

/// A purged file does not refer to the content and never will. This event can come before the content is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReleasedV2 {
    /// The file.
    pub file_id: FileId,
    /// Number of files that still refer to the object. At 0, the object will be deleted.
    pub references: u64,
}

/// A compressed object with the same bytes has replaced an object. The replaced object is deleted after a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentCompressedV1 {
    /// All files that refer to the compressed object from now on, at most 1,000.
    pub file_ids: Vec<FileId>,
    /// Bucket of the compressed object.
    pub storage_bucket: String,
    /// Key of the compressed object, which says that it is compressed.
    pub storage_key: String,
    /// Size of the files in bytes.
    pub size_bytes: u64,
    /// Size of the compressed object in bytes.
    pub stored_bytes: u64,
    /// Bucket of the replaced object.
    pub replaced_bucket: String,
    /// Key of the replaced object.
    pub replaced_key: String,
}

/// A file keeps its object, because compression would gain too little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentNotCompressedV1 {
    /// The file.
    pub file_id: FileId,
}

/// An object with the same bytes in another storage tier has replaced an object. The replaced object is deleted after a
/// while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentMovedV1 {
    /// All files that refer to the new object from now on, at most 1,064.
    pub file_ids: Vec<FileId>,
    /// Tier of the new object.
    pub tier: StorageTier,
    /// Bucket of the new object.
    pub storage_bucket: String,
    /// Key of the new object, which says whether it is compressed and in the hot tier.
    pub storage_key: String,
    /// Size of the files in bytes.
    pub size_bytes: u64,
    /// Size of the new object in bytes.
    pub stored_bytes: u64,
    /// Bucket of the replaced object.
    pub replaced_bucket: String,
    /// Key of the replaced object.
    pub replaced_key: String,
}

aggregate_events! {
    /// Events of content that several files of a company have in common, that is compressed or that was moved.
    ContentEvent of Content {
        ContentShared, 1 => ContentSharedV1;
        ContentReferenced, 2 => ContentReferencedV2;
        ContentReleased, 2 => ContentReleasedV2;
        ContentCompressed, 1 => ContentCompressedV1;
        ContentNotCompressed, 1 => ContentNotCompressedV1;
        ContentMoved, 1 => ContentMovedV1;
    }
}

impl ContentEvent {
    /// Returns the files whose storage location the event may change.
    pub fn file_ids(&self) -> &[FileId] {
        match self {
            Self::ContentShared(shared) => &shared.file_ids,
            Self::ContentReferenced(referenced) => &referenced.file_ids,
            Self::ContentCompressed(compressed) => &compressed.file_ids,
            Self::ContentMoved(moved) => &moved.file_ids,
            Self::ContentNotCompressed(kept) => std::slice::from_ref(&kept.file_id),
            Self::ContentReleased(_) => &[],
        }
    }
}
