//! Sets of bytes of a file, for example of its stored bytes. A set is kept as sorted ranges that neither overlap nor
//! touch.

use serde::{Deserialize, Serialize};

/// The bytes from `from` (included) to `to` (excluded).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ByteRange {
    /// The first byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

impl ByteRange {
    /// Returns the range of `length` bytes that begins at `offset`. The end saturates at the maximum of `u64`.
    pub fn at(offset: u64, length: u64) -> Self {
        Self { from: offset, to: offset.saturating_add(length) }
    }

    /// Returns the number of bytes.
    pub fn len(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Returns `true` if the range has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Set of bytes. Insertion is idempotent, and its order does not matter.
///
/// ```
/// use waybill_schema::{ByteRange, RangeSet};
///
/// let mut stored = RangeSet::default();
/// stored.insert(ByteRange { from: 20, to: 30 });
/// stored.insert(ByteRange { from: 0, to: 10 });
/// assert_eq!(stored.prefix(), 10);
/// assert_eq!(stored.gaps(ByteRange { from: 0, to: 40 }), [ByteRange { from: 10, to: 20 }, ByteRange { from: 30, to: 40 }]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    /// Adds the bytes of `range` and joins ranges that overlap or touch. O(number of ranges).
    pub fn insert(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let start = self.0.partition_point(|run| run.to < range.from);
        let end = self.0.partition_point(|run| run.from <= range.to);
        let mut joined = range;
        if let (Some(first), Some(last)) = (self.0.get(start), end.checked_sub(1).and_then(|i| self.0.get(i)))
            && start < end
        {
            joined = ByteRange { from: first.from.min(range.from), to: last.to.max(range.to) };
        }
        self.0.splice(start..end, [joined]);
    }

    /// Returns `true` if the set contains every byte of `range`.
    pub fn contains(&self, range: ByteRange) -> bool {
        range.is_empty() || self.gaps(range).is_empty()
    }

    /// Returns the position after the last byte, or 0 if the set is empty.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.to)
    }

    /// Returns the number of bytes in the set.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|run| run.len()).sum()
    }

    /// Returns the number of consecutive bytes from 0 on. This is the offset at which a client resumes.
    pub fn prefix(&self) -> u64 {
        self.0.first().filter(|run| run.from == 0).map_or(0, |run| run.to)
    }

    /// Returns the ranges of `within` that are missing in the set, in order.
    pub fn gaps(&self, within: ByteRange) -> Vec<ByteRange> {
        let mut gaps = Vec::new();
        let mut next = within.from;
        let first = self.0.partition_point(|run| run.to <= within.from);
        for run in &self.0[first..] {
            if run.from >= within.to {
                break;
            }
            if run.from > next {
                gaps.push(ByteRange { from: next, to: run.from });
            }
            next = run.to;
        }
        if next < within.to {
            gaps.push(ByteRange { from: next, to: within.to });
        }
        gaps
    }

    /// Returns the intersection of the set with `within`.
    #[must_use]
    pub fn within(&self, within: ByteRange) -> Self {
        let cut = |run: &ByteRange| ByteRange { from: run.from.max(within.from), to: run.to.min(within.to) };
        Self(self.0.iter().map(cut).filter(|run| !run.is_empty()).collect())
    }

    /// Returns the ranges of the set, in order.
    pub fn runs(&self) -> &[ByteRange] {
        &self.0
    }
}
