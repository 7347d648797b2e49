//! The answer of a process that makes previews.

use crate::limits::PICTURE_MAX_BYTES;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
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
    /// Format of the bytes.
    pub format: Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The encoded picture.
    pub bytes: Vec<u8>,
}

/// Format of a preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
}

impl Format {
    /// Returns the media type.
    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
        }
    }

    /// Returns the first bytes of every such picture.
    const fn beginning(self) -> &'static [u8] {
        match self {
            Self::Jpeg => b"\xff\xd8\xff",
            Self::Png => b"\x89PNG\r\n\x1a\n",
        }
    }
}

/// Sizes in bytes of a ThumbHash, and the largest number in the facts.
const THUMBHASH_BYTES: RangeInclusive<usize> = 5..=40;
const FACT_MAX: u32 = 10_000_000;

impl Rendered {
    /// Returns `true` if the answer is what the program makes. A program that a malicious file has taken over can answer
    /// anything.
    pub fn is_plausible(&self) -> bool {
        let variants = self.pictures.iter().map(|picture| picture.variant);
        let PreviewFacts { width, height, page_count, duration_ms } = self.facts;
        variants.eq(Variant::ALL)
            && self.pictures.iter().all(Picture::is_plausible)
            && THUMBHASH_BYTES.contains(&self.thumbhash.len())
            && [width, height].iter().all(|side| (1..=FACT_MAX).contains(side))
            && page_count.is_none_or(|pages| pages <= FACT_MAX)
            && duration_ms.is_none()
    }
}

impl Picture {
    fn is_plausible(&self) -> bool {
        [self.width, self.height].iter().all(|side| (1..=self.variant.longest_side()).contains(side))
            && self.bytes.len() <= PICTURE_MAX_BYTES
            && self.bytes.starts_with(self.format.beginning())
    }
}
