//! WebP (RFC 9649): chunks in a RIFF container.

use super::kept::{EXIF, Kept, Pieces, tiff_of};
use std::ops::Range;

const HEADER: usize = 12;
/// Flags of the chunk VP8X (RFC 9649 §2.7): the file has EXIF, or XMP.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;

/// Returns the pieces that remain; `None` if the bytes are not a WebP picture.
pub(super) fn pieces(bytes: &[u8]) -> Option<Pieces> {
    let size = usize::try_from(u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?)).ok()?;
    let end = size.checked_add(8)?.min(bytes.len());
    let mut kept = Kept { ranges: Vec::new(), orientation: None };
    let (mut at, mut flags_at, mut has_picture) = (HEADER, None, false);
    while let Some((kind, data, next)) = chunk(bytes.get(..end)?, at) {
        match kind {
            b"VP8X" => flags_at = Some(data.start).filter(|_| !data.is_empty()),
            b"EXIF" => {
                let exif = bytes.get(data)?;
                kept.see_exif(exif.strip_prefix(EXIF).unwrap_or(exif));
            }
            b"VP8 " | b"VP8L" | b"ANMF" => has_picture = true,
            _ => {}
        }
        if matches!(kind, b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP") {
            kept.ranges.push(at..next);
        }
        at = next;
    }
    if !has_picture {
        return None;
    }
    // Only the extended format has EXIF.
    let exif = kept.orientation().filter(|_| flags_at.is_some()).map(|orientation| {
        let tiff = tiff_of(orientation);
        [b"EXIF".as_slice(), &u32::try_from(tiff.len()).unwrap_or(u32::MAX).to_le_bytes(), &tiff].concat()
    });
    let exif = exif.unwrap_or_default();
    let length = 4 + exif.len() + kept.ranges.iter().map(Range::len).sum::<usize>();
    let mut pieces = Pieces::default();
    let put = |pieces: &mut Pieces, at: usize, new: &[u8]| match bytes.get(at..at + new.len()) == Some(new) {
        true => pieces.keep(at..at + new.len()),
        false => pieces.put(new.to_vec()),
    };
    let header = [b"RIFF".as_slice(), &u32::try_from(length).ok()?.to_le_bytes(), b"WEBP"].concat();
    put(&mut pieces, 0, &header);
    for range in kept.ranges {
        match flags_at.filter(|at| range.contains(at)) {
            None => pieces.keep(range),
            Some(at) => {
                let flags = bytes.get(at)? & !(HAS_EXIF | HAS_XMP) | if exif.is_empty() { 0 } else { HAS_EXIF };
                pieces.keep(range.start..at);
                put(&mut pieces, at, &[flags]);
                pieces.keep(at + 1..range.end);
            }
        }
    }
    if !exif.is_empty() {
        pieces.put(exif);
    }
    Some(pieces)
}

/// Returns the type of the chunk at a position, the place of its data, and the position of the next chunk.
fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8; 4], Range<usize>, usize)> {
    let (kind, rest) = bytes.get(at..)?.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    let begin = at + 8;
    let data = begin..begin.checked_add(length)?.min(bytes.len());
    // Chunks have an even length.
    let next = (data.end + data.len() % 2).min(bytes.len());
    Some((kind, data, next))
}
