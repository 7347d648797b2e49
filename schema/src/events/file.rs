//! Events of a file's life after it was verified: `file.{id}`.

use serde::{Deserialize, Serialize};

/// The file is shown under another name; its original name stays on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRenamedV1 {
    /// The new name.
    pub display_name: String,
}

/// The file was deleted softly: it can be restored until it is purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeletedV1 {}

/// A deleted file is there again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRestoredV1 {}

/// The host product's own facts about the file are these from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadataChangedV1 {
    /// A JSON object; none where it was taken away.
    pub metadata: Option<String>,
}

/// The space of a purged file was given back: never again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpaceReleasedV1 {}

/// A deleted file is gone for good: its object is deleted and its space given back. These events stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePurgedV1 {}
