//! Events of content that files of one company share: `content.{sha256}`. A count of none dooms the object for ever:
//! the next file with the same bytes brings an object of its own.

use crate::FileId;
use serde::{Deserialize, Serialize};

/// The object of this file holds the content from now on; the file is the first to refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentStoredV1 {
    /// The file.
    pub file_id: FileId,
    /// The object's bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// One more file refers to the content's object; its own copy is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReferencedV1 {
    /// The file.
    pub file_id: FileId,
    /// The content's bucket.
    pub storage_bucket: String,
    /// The content's key.
    pub storage_key: String,
}

/// A file that was purged refers to it no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReleasedV1 {
    /// The file.
    pub file_id: FileId,
}
