//! Pictures without the place where they were taken, and without other metadata.

use crate::{ByteRange, Sha256Digest};
use serde::{Deserialize, Serialize};

/// Policy for metadata in the pictures of a company. A later policy is stricter than an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocationPolicy {
    /// Everybody gets the file as it was uploaded.
    #[default]
    Off,
    /// Everybody but the uploader and admins gets pictures without metadata.
    ForOthers,
}

/// A piece of a file without metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// These bytes of the uploaded file.
    Original(ByteRange),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// A file without metadata, as pieces of the uploaded file. There is no object with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainForm {
    /// Number of bytes.
    pub size_bytes: u64,
    /// Digest of its bytes.
    pub sha256: Sha256Digest,
    /// Its pieces, which refer to the uploaded file in ascending order.
    pub pieces: Vec<Piece>,
}

/// Form in which users get a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileForm {
    /// The uploaded bytes.
    Original,
    /// The bytes without metadata.
    Plain,
}

/// Result of removing the metadata of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stripped {
    /// There is a form without metadata.
    Removed(PlainForm),
    /// The file has no metadata that can contain a place.
    Absent,
    /// The file is of a kind whose metadata cannot be removed, or it is damaged. Everybody gets it as it was uploaded.
    Unsupported,
}

impl Stripped {
    /// Returns the name in answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Removed(_) => "removed",
            Self::Absent => "absent",
            Self::Unsupported => "unsupported",
        }
    }
}

impl LocationPolicy {
    /// Returns the name in requests and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::ForOthers => "for_others",
        }
    }
}
