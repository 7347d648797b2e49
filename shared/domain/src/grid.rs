//! The part grid of an upload: the boundaries of its parts. It is fixed when the upload starts.

use waybill_schema::ByteRange;

/// Division of a file into parts of equal size. Only the last part can be smaller.
///
/// ```
/// use waybill_domain::grid::PartGrid;
/// use waybill_schema::ByteRange;
///
/// let grid = PartGrid { size_bytes: 20_000_000, part_size_bytes: 8_388_608 };
/// assert_eq!(grid.total_parts(), 3);
/// assert_eq!(grid.part(3), ByteRange { from: 16_777_216, to: 20_000_000 });
/// assert_eq!(grid.whole_part(grid.part(2)), Some(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartGrid {
    /// Size of the file in bytes.
    pub size_bytes: u64,
    /// Size in bytes of every part except the last.
    pub part_size_bytes: u64,
}

impl PartGrid {
    /// Returns the number of parts. An empty file has none.
    pub fn total_parts(self) -> u32 {
        u32::try_from(self.size_bytes.div_ceil(self.part_size_bytes.max(1))).unwrap_or(u32::MAX)
    }

    /// Returns the range of the whole file.
    pub fn all(self) -> ByteRange {
        ByteRange { from: 0, to: self.size_bytes }
    }

    /// Returns the range of part `part_number` (from 1). It is empty if there is no such part.
    pub fn part(self, part_number: u32) -> ByteRange {
        let from = u64::from(part_number.saturating_sub(1)).saturating_mul(self.part_size_bytes).min(self.size_bytes);
        ByteRange { from, to: from.saturating_add(self.part_size_bytes).min(self.size_bytes) }
    }

    /// Returns the number (from 1) of the part that contains the byte at `offset`.
    pub fn part_at(self, offset: u64) -> u32 {
        u32::try_from(offset / self.part_size_bytes.max(1) + 1).unwrap_or(u32::MAX)
    }

    /// Returns the number of the part whose range is exactly `range`.
    pub fn whole_part(self, range: ByteRange) -> Option<u32> {
        let part_number = self.part_at(range.from);
        (!range.is_empty() && self.part(part_number) == range).then_some(part_number)
    }

    /// Returns the number of parts that contain bytes of `runs`, which are sorted and disjoint ranges.
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
