//! JPEG (ITU-T T.81, Annex B): a sequence of segments, and data of scans between them.

use super::kept::{EXIF, Kept, Pieces, tiff_of};
use std::ops::Range;

const START: usize = 2;

/// A segment, or a marker without parameters.
struct Segment<'a> {
    code: u8,
    range: Range<usize>,
    parameters: &'a [u8],
}

/// Returns the pieces that remain; `None` if the bytes are not a JPEG picture with a scan.
pub(super) fn pieces(bytes: &[u8]) -> Option<Pieces> {
    let mut kept = Kept { ranges: Vec::new(), orientation: None };
    kept.ranges.push(0..START);
    // JFIF demands that its segment is the first one.
    let (mut at, mut first_at, mut has_scan) = (START, START, false);
    while let Some(Segment { code, range, parameters }) = segment(bytes, at) {
        let end = range.end;
        if code == 0xe1
            && let Some(tiff) = parameters.strip_prefix(EXIF)
        {
            kept.see_exif(tiff);
        }
        if is_part_of_picture(code, parameters) {
            if code == 0xe0 && at == START {
                first_at = end;
            }
            kept.ranges.push(range);
        }
        match code {
            // End of the picture. Some cameras write videos or larger pictures after it.
            0xd9 => break,
            0xda => {
                has_scan = true;
                at = end_of_scan(bytes, end);
                kept.ranges.push(end..at);
            }
            _ => at = end,
        }
    }
    let new = kept.orientation().map(|orientation| {
        let tiff = tiff_of(orientation);
        let length = u8::try_from(2 + EXIF.len() + tiff.len()).unwrap_or(u8::MAX);
        [&[0xff, 0xe1, 0, length], EXIF, &tiff].concat()
    });
    has_scan.then(|| Pieces::keep_all(&kept.ranges, first_at, new.unwrap_or_default()))
}

/// Returns the next segment from a position on, with the fill bytes before it. Like decoders, leaves out bytes before it that are no
/// marker. `None` at the end, also if it comes too early.
fn segment(bytes: &[u8], at: usize) -> Option<Segment<'_>> {
    let at = at + bytes.get(at..)?.windows(2).position(|two| two[0] == 0xff && two[1] != 0)?;
    let rest = bytes.get(at..)?;
    let fill = rest.iter().take_while(|byte| **byte == 0xff).count();
    let code = *rest.get(fill).filter(|_| fill > 0)?;
    let after = at + fill + 1;
    let length = match code {
        0x00 | 0xd8 => return None,
        0x01 | 0xd0..=0xd7 | 0xd9 => 0,
        _ => usize::from(u16::from_be_bytes(*bytes.get(after..)?.first_chunk()?)),
    };
    let all = bytes.get(after..after.checked_add(length)?)?;
    let parameters = if length == 0 { all } else { all.get(2..)? };
    Some(Segment { code, range: at..after + length, parameters })
}

/// Returns `false` for metadata and for data of applications other than the colour profile and what decoders need for colours.
fn is_part_of_picture(code: u8, parameters: &[u8]) -> bool {
    match code {
        0xe0 => parameters.starts_with(b"JFIF\0"),
        0xe2 => parameters.starts_with(b"ICC_PROFILE\0"),
        0xee => parameters.starts_with(b"Adobe"),
        0xe1..=0xef | 0xfe => false,
        _ => true,
    }
}

/// Returns the position of the marker after the data of a scan, which can contain restart markers.
fn end_of_scan(bytes: &[u8], mut at: usize) -> usize {
    while let Some(rest) = bytes.get(at..) {
        let Some(next) = rest.iter().position(|byte| *byte == 0xff) else { break };
        match rest.get(next + 1) {
            None => break,
            Some(0x00 | 0xd0..=0xd7) => at += next + 2,
            Some(0xff) => at += next + 1,
            Some(_) => return at + next,
        }
    }
    bytes.len()
}
