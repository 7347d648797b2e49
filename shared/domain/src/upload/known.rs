//! Comparison of repeated bytes with stored bytes: the available checksums and objects of a range.

use super::pieces::StagedPiece;
use super::state::State;
use waybill_schema::{ByteRange, RangeSet};

/// Stored range, and the means to compare other bytes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// The CRC-64/NVME of the range is known.
    Checksum {
        /// The range.
        range: ByteRange,
        /// CRC-64/NVME of exactly this range.
        crc64nvme: u64,
    },
    /// The bytes are in a staged object and can be read from there.
    Staged(StagedPiece),
    /// The bytes are inside a part of an open multipart upload, which cannot be read. They cannot be compared.
    Hidden(ByteRange),
}

impl State {
    /// Returns the stored bytes of `range`, which must be within one part.
    pub fn known_in(&self, range: ByteRange) -> Vec<Known> {
        let grid = self.grid();
        let part_number = grid.part_at(range.from);
        let inside = |of: ByteRange| of.from >= range.from && of.to <= range.to;
        let mut known = Vec::new();
        let mut told = RangeSet::default();
        let mut tell = |range, what| {
            told.insert(range);
            known.push(what);
        };
        match self.parts.get(&part_number) {
            Some(part) if range == grid.part(part_number) => {
                tell(range, Known::Checksum { range, crc64nvme: part.crc64nvme });
            }
            Some(_) => {
                for (range, crc64nvme) in self.joined.iter().filter(|(joined, _)| inside(*joined)) {
                    tell(range, Known::Checksum { range, crc64nvme });
                }
            }
            None => {
                let first = grid.part(part_number).from;
                for piece in self.staged.range(first..range.to.max(first)).map(|(_, piece)| piece) {
                    match piece.crc64nvme.filter(|_| inside(piece.range)) {
                        Some(crc64nvme) => tell(piece.range, Known::Checksum { range: piece.range, crc64nvme }),
                        None if piece.range.to > range.from => {
                            let piece = piece.cut(range);
                            tell(piece.range, Known::Staged(piece));
                        }
                        None => {}
                    }
                }
            }
        }
        let stored = self.stored.within(range);
        known.extend(stored.runs().iter().flat_map(|run| told.gaps(*run)).map(Known::Hidden));
        known
    }
}
