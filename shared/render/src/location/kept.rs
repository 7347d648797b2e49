//! Parts of a picture that remain.

use image::metadata::Orientation;
use std::ops::Range;
use waybill_schema::{ByteRange, Piece};

/// Header of EXIF in JPEG, which some programs also write in WebP.
pub(super) const EXIF: &[u8] = b"Exif\0\0";

/// Parts of a picture that remain.
pub(super) struct Kept {
    /// Ascending ranges of the picture.
    pub(super) ranges: Vec<Range<usize>>,
    /// Orientation in the first EXIF that has one.
    pub(super) orientation: Option<Orientation>,
}

impl Kept {
    /// Reads the orientation from EXIF (TIFF without the header of JPEG).
    pub(super) fn see_exif(&mut self, tiff: &[u8]) {
        self.orientation = self.orientation.or_else(|| Orientation::from_exif_chunk(tiff));
    }

    /// Returns the orientation that must be written: one that is not the normal one.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        self.orientation.filter(|orientation| *orientation != Orientation::NoTransforms)
    }
}

/// Pieces of a picture without metadata.
#[derive(Default)]
pub(super) struct Pieces(pub(super) Vec<Piece>);

impl Pieces {
    pub(super) fn keep(&mut self, range: Range<usize>) {
        let range = ByteRange { from: range.start as u64, to: range.end as u64 };
        match self.0.last_mut() {
            _ if range.is_empty() => {}
            Some(Piece::Original(last)) if last.to == range.from => last.to = range.to,
            _ => self.0.push(Piece::Original(range)),
        }
    }

    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        self.0.push(Piece::Bytes(bytes));
    }

    /// Keeps the ranges, with new bytes at a position that is not inside a range that is left out.
    pub(super) fn keep_all(kept: &[Range<usize>], at: usize, new: Vec<u8>) -> Self {
        let mut pieces = Self::default();
        for range in kept.iter().filter(|range| range.start < at) {
            pieces.keep(range.start..range.end.min(at));
        }
        if !new.is_empty() {
            pieces.put(new);
        }
        for range in kept.iter().filter(|range| range.end > at) {
            pieces.keep(range.start.max(at)..range.end);
        }
        pieces
    }
}

/// Returns EXIF that only says the orientation (Exif 3.0, 4.6.5.1.6).
pub(super) fn tiff_of(orientation: Orientation) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    tiff.extend([orientation.to_exif(), 0, 0, 0, 0, 0, 0]);
    tiff
}
