//! Events of a verified file. Subject: `file.{id}`.

use crate::location::{FileForm, Stripped};
use crate::preview::{PreviewFacts, PreviewFailure, PreviewSet, StoredVariant};
use crate::scan::ScanResult;
use crate::tier::StorageTier;
use serde::{Deserialize, Serialize};

/// The file has a new display name. Its original name remains recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRenamedV1 {
    /// The new name.
    pub display_name: String,
}

/// The file was deleted. It can be restored until it is purged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeletedV1 {}

/// A deleted file was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRestoredV1 {}

/// The metadata of the host product about the file changed. The new metadata replaces the previous metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadataChangedV1 {
    /// A JSON object as text. `None` if the metadata was removed.
    pub metadata: Option<String>,
}

/// The quota got the bytes of the purged file back. This happens at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpaceReleasedV1 {}

/// A deleted file was removed for good: its object is deleted and its bytes are given back to the quota. Its events
/// remain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePurgedV1 {}

/// The file was scanned for viruses. A later scan replaces the verdict of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileScannedV1 {
    /// Result of the scan.
    pub result: ScanResult,
    /// Scanner and its version, such as `ClamAV 1.4.6`.
    pub engine: String,
    /// Version of the scanner's signatures, as the scanner names it.
    pub database_version: String,
    /// Number of bytes of the file that the scanner read.
    pub covered_bytes: u64,
}

/// An administrator released the file: its present verdict does not keep anybody from reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReleasedV1 {}

/// Previews of the file were made and stored. This happens at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewsMadeV1 {
    /// Id of the set. With the name of a variant, it gives the key of the object.
    pub set: PreviewSet,
    /// The stored previews.
    pub variants: Vec<StoredVariant>,
    /// ThumbHash of the picture: about 25 bytes that clients can show at once.
    pub thumbhash: Vec<u8>,
    /// Facts about the content.
    pub facts: PreviewFacts,
}

/// No previews of the file could be made. A later attempt can still make them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewFailedV1 {
    /// Reason.
    pub reason: PreviewFailure,
}

/// The bytes of the file were moved to a cheaper storage tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileArchivedV1 {
    /// The tier: not the hot one.
    pub tier: StorageTier,
}

/// Somebody asked that the bytes of the archived file are moved back to the hot tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRestoreRequestedV1 {}

/// The bytes of the archived file are in the hot tier again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileThawedV1 {}

/// The metadata of the file was removed for users other than the uploader, or cannot be. This happens at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationStrippedV1 {
    /// Result.
    pub stripped: Stripped,
}

/// The CRC-32 of a form of the file was computed after the upload. The events of the upload have that of the uploaded bytes, except those
/// of earlier versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChecksummedV1 {
    /// The form.
    pub form: FileForm,
    /// CRC-32 (ISO-HDLC) of its bytes.
    pub crc32: u32,
}

/// The labels of the file changed. The new labels replace all previous ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLabelledV1 {
    /// The labels, sorted and without repetition.
    pub labels: Vec<String>,
}

aggregate_events! {
    /// Events of a verified file.
    FileEvent of File {
        FileRenamed, 1 => FileRenamedV1;
        FileDeleted, 1 => FileDeletedV1;
        FileRestored, 1 => FileRestoredV1;
        FileMetadataChanged, 1 => FileMetadataChangedV1;
        FilePurged, 1 => FilePurgedV1;
        FileSpaceReleased, 1 => FileSpaceReleasedV1;
        FileScanned, 1 => FileScannedV1;
        FileReleased, 1 => FileReleasedV1;
        PreviewsMade, 1 => PreviewsMadeV1;
        PreviewFailed, 1 => PreviewFailedV1;
        FileArchived, 1 => FileArchivedV1;
        FileRestoreRequested, 1 => FileRestoreRequestedV1;
        FileThawed, 1 => FileThawedV1;
        LocationStripped, 1 => LocationStrippedV1;
        FileChecksummed, 1 => FileChecksummedV1;
        FileLabelled, 1 => FileLabelledV1;
    }
}
