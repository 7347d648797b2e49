//! Ranges of an upload that are smaller than a part: while they are staged, and after they were assembled.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use waybill_schema::ByteRange;

/// Number of pieces whose checksums are kept after their part was assembled. The newest are kept, for clients that lost
/// a response and repeat the request.
const JOINED: usize = 256;

/// Range of the file that is in a staged object. Pieces never overlap: the first event wins for each byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedPiece {
    /// The range of the file.
    pub range: ByteRange,
    /// Key of the staged object.
    pub storage_key: String,
    /// Position in the staged object at which the piece begins.
    pub object_offset: u64,
    /// CRC-64/NVME of the piece, if the piece is the whole staged object.
    pub crc64nvme: Option<u64>,
}

impl StagedPiece {
    /// Returns the piece, cut to the bytes within `range`.
    pub(super) fn cut(&self, range: ByteRange) -> Self {
        let cut = ByteRange { from: self.range.from.max(range.from), to: self.range.to.min(range.to) };
        Self {
            range: cut,
            storage_key: self.storage_key.clone(),
            object_offset: self.object_offset + (cut.from - self.range.from),
            crc64nvme: self.crc64nvme.filter(|_| cut == self.range),
        }
    }
}

/// Checksums of pieces that were assembled into parts, the newest last.
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

    /// Returns the ranges and their checksums, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ByteRange, u64)> {
        self.0.iter().copied()
    }

    /// Returns the memory usage in bytes.
    pub(super) fn weight(&self) -> usize {
        self.0.capacity() * size_of::<(ByteRange, u64)>()
    }
}
