//! The segments of a byte range.

use crate::layout::{Layout, Part, PartKind};
use bytes::{Buf, Bytes, BytesMut};
use std::iter::FusedIterator;

/// Headers that follow each other are joined until they have this many bytes. The directory of 65,536 entries is then some hundred
/// segments: neither one large allocation nor many tiny ones.
const BLOCK_BYTES: usize = 16 * 1_024;

/// Consecutive bytes of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Bytes of headers, never empty.
    Bytes(Bytes),
    /// Bytes `from..to` of a file, never empty.
    File {
        /// Index of the file in [`Layout::entries`].
        index: usize,
        /// First byte, as an offset in the file.
        from: u64,
        /// End, as an offset in the file.
        to: u64,
    },
}

/// The segments of a byte range, in order: see [`Layout::segments`].
#[derive(Debug, Clone)]
pub struct Segments {
    layout: Layout,
    at: u64,
    to: u64,
}

impl Layout {
    /// Returns, in order, the segments that make up the bytes `from..to` of the archive. No segment is empty.
    ///
    /// Bytes past the end of the archive are left out, and a range that ends before it begins is empty. The iterator keeps the
    /// layout alive, and produces each segment when it is asked for.
    pub fn segments(&self, from: u64, to: u64) -> Segments {
        Segments::new(self.clone(), from, to.min(self.size_bytes()))
    }
}

impl Segments {
    pub(crate) fn new(layout: Layout, from: u64, to: u64) -> Self {
        Self { layout, at: from, to }
    }

    /// Finds the part at the present offset, if the range continues there.
    fn part(&self) -> Option<Part> {
        if self.at < self.to { self.layout.part_at(self.at) } else { None }
    }

    /// Produces headers from the present offset on, up to the next file, the end of the range or the size of a block.
    fn headers(&mut self, first: Part) -> Bytes {
        let from = self.at;
        let mut block = BytesMut::new();
        let mut next = Some(first);
        while let Some(part) = next {
            self.layout.write(part.kind, &mut block);
            self.at = part.end.min(self.to);
            let is_full = block.len() >= BLOCK_BYTES;
            next = self.part().filter(|part| !is_full && !matches!(part.kind, PartKind::File(_)));
        }
        // The block has whole headers: the range can begin inside the first one and end inside the last one.
        block.truncate(length(self.at - first.start));
        block.advance(length(from - first.start).min(block.len()));
        block.freeze()
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let part = self.part()?;
        let PartKind::File(index) = part.kind else {
            return Some(Segment::Bytes(self.headers(part)));
        };
        let from = self.at - part.start;
        self.at = part.end.min(self.to);
        Some(Segment::File { index, from, to: self.at - part.start })
    }
}

impl FusedIterator for Segments {}

/// Converts the length of bytes in memory, which always fits.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
