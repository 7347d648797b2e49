//! Previews: small pictures of a file, and facts about its content.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use uuid::Uuid;

/// A fixed kind of preview. There are no other sizes, so that clients cannot fill the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variant {
    /// Its longer side has at most 256 pixels.
    #[serde(rename = "preview-256")]
    Preview256,
    /// Its longer side has at most 1,024 pixels.
    #[serde(rename = "preview-1024")]
    Preview1024,
}

impl Variant {
    /// All variants, the smallest first.
    pub const ALL: [Self; 2] = [Self::Preview256, Self::Preview1024];

    /// Returns the name in requests, answers and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview256 => "preview-256",
            Self::Preview1024 => "preview-1024",
        }
    }

    /// Returns the largest length of a side in pixels. Smaller pictures are not enlarged.
    pub const fn longest_side(self) -> u32 {
        match self {
            Self::Preview256 => 256,
            Self::Preview1024 => 1_024,
        }
    }
}

/// The text is not the name of a variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected preview-256 or preview-1024")]
pub struct UnknownVariant;

impl FromStr for Variant {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        Self::ALL.into_iter().find(|variant| variant.as_str() == text).ok_or(UnknownVariant)
    }
}

/// Facts about the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewFacts {
    /// Width in pixels, as a viewer shows the picture. Points (1/72 inch) for the first page of a PDF.
    pub width: u32,
    /// Height, in the unit of the width.
    pub height: u32,
    /// Number of pages of a document.
    pub page_count: Option<u32>,
    /// Duration of a video in milliseconds.
    pub duration_ms: Option<u64>,
}

/// A stored preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVariant {
    /// Kind.
    pub variant: Variant,
    /// `image/jpeg`, or `image/png` if it has transparent pixels.
    pub mime_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size of the object in bytes.
    pub size_bytes: u64,
}

/// Id of a set of previews of one file. It is part of the keys of the objects, so that no object is ever overwritten.
pub type PreviewSet = Uuid;

/// Reason why a file has no previews. It never keeps anybody from reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviewFailure {
    /// The content is of a kind or uses a feature that is not supported, such as encryption.
    Unsupported,
    /// The content is not what it claims to be, or ends too early.
    Damaged,
    /// The file or its picture is larger than the limits.
    TooLarge,
    /// The preview takes more memory or time than the limits allow.
    LimitsExceeded,
    /// The program that makes previews ended unexpectedly, or tried to do what it may not.
    Failed,
}

impl PreviewFailure {
    /// Returns the name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Damaged => "damaged",
            Self::TooLarge => "too_large",
            Self::LimitsExceeded => "limits_exceeded",
            Self::Failed => "failed",
        }
    }
}
