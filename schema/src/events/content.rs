//! Events of content that several files of one company have in common: `content.{sha256}`. Content that one file has needs
//! none. An object that no file refers to is doomed for ever: the next files with the same bytes bring objects of their own.

use crate::FileId;
use serde::{Deserialize, Serialize};

/// Files have the same bytes: from now on they refer to the object of the first one, and their own are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSharedV1 {
    /// The files; the first one's object is the one.
    pub file_ids: Vec<FileId>,
    /// The object's bucket.
    pub storage_bucket: String,
    /// The object's key.
    pub storage_key: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// More files refer to the content's object; their own are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReferencedV2 {
    /// The files; 64 at most.
    pub file_ids: Vec<FileId>,
    /// The content's bucket.
    pub storage_bucket: String,
    /// The content's key.
    pub storage_key: String,
}

/// A file that was purged does not refer to the content, and never will: also if nobody has shared it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentReleasedV2 {
    /// The file.
    pub file_id: FileId,
    /// How many files still refer to the object; without any it is doomed.
    pub references: u64,
}
