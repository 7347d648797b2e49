//! The answer of a process that makes previews.

use serde::{Deserialize, Serialize};
use waybill_schema::{PreviewFacts, PreviewFailure, Variant};

/// Standard output of `waybill render`, in postcard.
pub type Answer = Result<Rendered, PreviewFailure>;

/// Previews of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// Facts about the content.
    pub facts: PreviewFacts,
    /// ThumbHash of the picture.
    pub thumbhash: Vec<u8>,
    /// One picture for each [`Variant`].
    pub pictures: Vec<Picture>,
}

/// An encoded picture, without any metadata of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Kind.
    pub variant: Variant,
    /// `image/jpeg` or `image/png`.
    pub mime_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The encoded picture.
    pub bytes: Vec<u8>,
}
