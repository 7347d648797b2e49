//! PNG (third edition): a signature and chunks.

use super::kept::{Kept, Pieces, tiff_of};
use crc_fast::{CrcAlgorithm, checksum};

const SIGNATURE: usize = 8;

/// Chunks that are part of the picture or say how to show it. Others can contain a place.
const PARTS: [&[u8; 4]; 21] = [
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV",
    b"cLLI", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"acTL", b"fcTL", b"fdAT", b"CgBI",
];

/// Returns the pieces that remain; `None` if the bytes are not a PNG picture with data.
pub(super) fn pieces(bytes: &[u8]) -> Option<Pieces> {
    let mut kept = Kept { ranges: Vec::new(), orientation: None };
    kept.ranges.push(0..SIGNATURE);
    let (mut at, mut first_at, mut has_data) = (SIGNATURE, None, false);
    while let Some((kind, data)) = chunk(bytes, at) {
        // The length, the type, the data and the checksum. A picture that ends too early is shown as far as it goes.
        let end = (at + 12 + data.len()).min(bytes.len());
        if kind == b"eXIf" {
            kept.see_exif(data);
        }
        if PARTS.contains(&kind) {
            kept.ranges.push(at..end);
        }
        first_at = first_at.or((kind == b"IHDR").then_some(end));
        has_data |= kind == b"IDAT";
        at = end;
        if kind == b"IEND" {
            break;
        }
    }
    let new = kept.orientation().map(|orientation| {
        let chunk = [b"eXIf".as_slice(), &tiff_of(orientation)].concat();
        let length = u32::try_from(chunk.len() - 4).unwrap_or(u32::MAX).to_be_bytes();
        let crc = u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, &chunk)).unwrap_or(u32::MAX).to_be_bytes();
        [length.as_slice(), &chunk, &crc].concat()
    });
    let first_at = first_at.filter(|_| has_data)?;
    Some(Pieces::keep_all(&kept.ranges, first_at, new.unwrap_or_default()))
}

/// Returns the type and the data of the chunk at a position. The data of the last chunk can be incomplete.
fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8; 4], &[u8])> {
    let rest = bytes.get(at..)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some((kind, rest.get(..length).unwrap_or(rest)))
}
