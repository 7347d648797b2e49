//! Bytes that come again where some are stored: by what it can be told whether they are the same.

use super::{StagedPiece, State};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use waybill_schema::{ByteRange, RangeSet};

/// Of how many pieces the checksums are kept after they were joined: of the last ones, for requests whose answers were lost.
const JOINED: usize = 256;

/// Some bytes that are stored, and what tells whether others are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// They have this CRC-64/NVME.
    Checksum {
        /// Which bytes of the file.
        range: ByteRange,
        /// The checksum of just these.
        crc64nvme: u64,
    },
    /// They lie in a staging object, where they can be read.
    Staged(StagedPiece),
    /// They lie within a part that is not an object yet: nothing tells.
    Hidden(ByteRange),
}

/// Checksums of pieces that were joined to a part, the last one at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined(VecDeque<(ByteRange, u64)>);

impl Joined {
    pub(super) fn push(&mut self, piece: &StagedPiece) {
        let Some(crc64nvme) = piece.crc64nvme else { return };
        if self.0.len() == JOINED {
            self.0.pop_front();
        }
        self.0.push_back((piece.range, crc64nvme));
    }

    pub(super) fn weight(&self) -> usize {
        self.0.capacity() * size_of::<(ByteRange, u64)>()
    }
}

impl State {
    /// What is stored of `range`, which lies in one part.
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
                for (range, crc64nvme) in self.joined.0.iter().copied().filter(|(joined, _)| inside(*joined)) {
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

impl StagedPiece {
    /// What of it lies in `range`.
    fn cut(&self, range: ByteRange) -> Self {
        let cut = ByteRange { from: self.range.from.max(range.from), to: self.range.to.min(range.to) };
        Self {
            range: cut,
            storage_key: self.storage_key.clone(),
            object_offset: self.object_offset + (cut.from - self.range.from),
            crc64nvme: self.crc64nvme.filter(|_| cut == self.range),
        }
    }
}
