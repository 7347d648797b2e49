//! Removes metadata from pictures without decoding them: EXIF, XMP, IPTC, comments, and everything after the picture. The pixels,
//! the colour profile and the orientation remain.

mod jpeg;
mod kept;
mod png;
mod webp;

use crate::picture::format_of;
use image::ImageFormat;
use kept::Pieces;
use sha2::{Digest, Sha256};
use waybill_domain::location::is_plausible;
use waybill_schema::{ByteRange, Piece, PlainForm, Sha256Digest, Stripped};

/// Removes the metadata of a picture. Its kind follows from its first bytes.
pub fn strip(bytes: &[u8]) -> Stripped {
    let pieces = match format_of(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::pieces(bytes),
        Some(ImageFormat::Png) => png::pieces(bytes),
        Some(ImageFormat::WebP) => webp::pieces(bytes),
        _ => None,
    };
    let Some(Pieces(pieces)) = pieces else { return Stripped::Unsupported };
    let parts = pieces.iter().map(|piece| match piece {
        Piece::Bytes(new) => new.as_slice(),
        Piece::Original(range) => part_of(bytes, *range),
    });
    let plain = parts.collect::<Vec<_>>().concat();
    // A picture whose only metadata is its orientation stays as it is.
    if plain == bytes {
        return Stripped::Absent;
    }
    let (size_bytes, sha256) = (plain.len() as u64, Sha256Digest(Sha256::digest(&plain).into()));
    let form = PlainForm { size_bytes, sha256, pieces };
    if is_plausible(&form, bytes.len() as u64) { Stripped::Removed(form) } else { Stripped::Unsupported }
}

fn part_of(bytes: &[u8], range: ByteRange) -> &[u8] {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    bytes.get(index(range.from)..index(range.to)).unwrap_or_default()
}
