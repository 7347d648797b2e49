//! Sets of bytes of one file, as sorted runs that do not touch: what is stored, and what is missing.

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
    /// The range of `length` bytes at `offset`; saturates at the end of `u64`.
    pub fn at(offset: u64, length: u64) -> Self {
        Self { from: offset, to: offset.saturating_add(length) }
    }

    /// How many bytes the range has.
    pub fn len(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether the range has no byte.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A set of bytes. Adding is idempotent and does not depend on order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<ByteRange>);

impl RangeSet {
    /// Adds the bytes of `range`, joining what touches. O(number of runs).
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

    /// Whether every byte of `range` is in the set.
    pub fn contains(&self, range: ByteRange) -> bool {
        range.is_empty() || self.gaps(range).is_empty()
    }

    /// One past the last byte of the set; 0 without any.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.to)
    }

    /// How many bytes the set has.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|run| run.len()).sum()
    }

    /// How many bytes from 0 on are in the set without a gap: the offset that a client resumes at.
    pub fn prefix(&self) -> u64 {
        self.0.first().filter(|run| run.from == 0).map_or(0, |run| run.to)
    }

    /// The parts of `within` that are not in the set, in order.
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

    /// What of the set lies in `within`.
    #[must_use]
    pub fn within(&self, within: ByteRange) -> Self {
        let cut = |run: &ByteRange| ByteRange { from: run.from.max(within.from), to: run.to.min(within.to) };
        Self(self.0.iter().map(cut).filter(|run| !run.is_empty()).collect())
    }

    /// The runs of the set, in order.
    pub fn runs(&self) -> &[ByteRange] {
        &self.0
    }
}
