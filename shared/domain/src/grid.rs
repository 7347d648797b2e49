//! The part grid of an upload: which bytes are in which part. Fixed when the upload starts.

use waybill_schema::ByteRange;

/// How a file is cut into parts of equal size, the last one excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartGrid {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of every part but the last.
    pub part_size_bytes: u64,
}

impl PartGrid {
    /// How many parts the file has; 0 for an empty one.
    pub fn total_parts(self) -> u32 {
        u32::try_from(self.size_bytes.div_ceil(self.part_size_bytes.max(1))).unwrap_or(u32::MAX)
    }

    /// The whole file.
    pub fn all(self) -> ByteRange {
        ByteRange { from: 0, to: self.size_bytes }
    }

    /// The bytes of part `part_number` (from 1); empty where there is no such part.
    pub fn part(self, part_number: u32) -> ByteRange {
        let from = u64::from(part_number.saturating_sub(1)).saturating_mul(self.part_size_bytes).min(self.size_bytes);
        ByteRange { from, to: from.saturating_add(self.part_size_bytes).min(self.size_bytes) }
    }

    /// The part (from 1) that holds the byte at `offset`.
    pub fn part_at(self, offset: u64) -> u32 {
        u32::try_from(offset / self.part_size_bytes.max(1) + 1).unwrap_or(u32::MAX)
    }

    /// The part that `range` is exactly the bytes of.
    pub fn whole_part(self, range: ByteRange) -> Option<u32> {
        let part_number = self.part_at(range.from);
        (!range.is_empty() && self.part(part_number) == range).then_some(part_number)
    }

    /// In how many parts the runs of bytes lie; the runs are sorted and disjoint.
    pub fn parts_touched(self, runs: &[ByteRange]) -> u32 {
        let mut touched = 0;
        let mut last = 0;
        for run in runs.iter().filter(|run| !run.is_empty()) {
            let first = self.part_at(run.from).max(last + 1);
            let end = self.part_at(run.to - 1);
            touched += (end + 1).saturating_sub(first);
            last = last.max(end);
        }
        touched
    }
}
