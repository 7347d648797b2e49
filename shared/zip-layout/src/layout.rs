//! The offsets of the parts of an archive.

use crate::entry::Entry;
use crate::records::{self, Directory};
use bytes::BytesMut;
use std::sync::Arc;

/// The longest name of an entry in bytes. Its length is a field of 2 bytes.
const NAME_MAX_BYTES: usize = 0xFFFF;

/// Why there is no layout for some entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A name is longer than 65,535 bytes.
    #[error("lay out a zip archive: the name of entry {index} has {length_bytes} bytes, more than {NAME_MAX_BYTES}")]
    NameTooLong {
        /// Index of the entry.
        index: usize,
        /// Length of its name.
        length_bytes: usize,
    },
    /// The archive would have 2^64 bytes or more.
    #[error("lay out a zip archive: it has more bytes than a 64-bit number can count")]
    TooLarge,
}

/// The layout of an archive. A clone shares its memory with the original.
#[derive(Debug, Clone)]
pub struct Layout {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Vec<Entry>,
    /// Offset of the local header of each entry. Increases strictly, since a header is never empty.
    starts: Vec<u64>,
    /// Offset of the directory record of each entry. Increases strictly.
    record_starts: Vec<u64>,
    directory: Directory,
    end_start: u64,
    size_bytes: u64,
}

/// A part of the archive, at the offsets `start..end`. It is not empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) kind: PartKind,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Kind of a part, with the index of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartKind {
    LocalHeader(usize),
    File(usize),
    DirectoryRecord(usize),
    End,
}

impl Layout {
    /// Lays out an archive of these entries, in this order. Their names should be unique: this is not checked.
    ///
    /// # Errors
    /// A name is too long, or the archive has too many bytes.
    pub fn new(entries: Vec<Entry>) -> Result<Self, LayoutError> {
        let mut at = 0;
        let mut starts = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let length_bytes = entry.name.len();
            if length_bytes > NAME_MAX_BYTES {
                return Err(LayoutError::NameTooLong { index, length_bytes });
            }
            starts.push(at);
            at = after(after(at, records::local_header_bytes(entry))?, entry.size_bytes)?;
        }
        let start = at;
        let mut record_starts = Vec::with_capacity(entries.len());
        for (entry, entry_start) in entries.iter().zip(&starts) {
            record_starts.push(at);
            at = after(at, records::directory_record_bytes(entry, *entry_start))?;
        }
        let directory = Directory { count: entries.len() as u64, start, size_bytes: at - start };
        let size_bytes = after(at, records::end_bytes(directory))?;
        let inner = Inner { entries, starts, record_starts, directory, end_start: at, size_bytes };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the length of the archive.
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// Returns the entries, in the order of the archive.
    pub fn entries(&self) -> &[Entry] {
        &self.inner.entries
    }

    /// Finds the part of the archive that contains this offset. Returns `None` past the end.
    pub(crate) fn part_at(&self, offset: u64) -> Option<Part> {
        let inner = &*self.inner;
        if offset >= inner.size_bytes {
            None
        } else if offset >= inner.end_start {
            Some(Part { kind: PartKind::End, start: inner.end_start, end: inner.size_bytes })
        } else if offset >= inner.directory.start {
            let index = last_at_or_before(&inner.record_starts, offset)?;
            let start = *inner.record_starts.get(index)?;
            let end = inner.record_starts.get(index + 1).copied().unwrap_or(inner.end_start);
            Some(Part { kind: PartKind::DirectoryRecord(index), start, end })
        } else {
            let index = last_at_or_before(&inner.starts, offset)?;
            let start = *inner.starts.get(index)?;
            let file_start = start + records::local_header_bytes(inner.entries.get(index)?);
            if offset < file_start {
                return Some(Part { kind: PartKind::LocalHeader(index), start, end: file_start });
            }
            let end = inner.starts.get(index + 1).copied().unwrap_or(inner.directory.start);
            Some(Part { kind: PartKind::File(index), start: file_start, end })
        }
    }

    /// Writes the bytes of a part. The bytes of a file are not known here, so it writes nothing for a file.
    pub(crate) fn write(&self, kind: PartKind, out: &mut BytesMut) {
        let inner = &*self.inner;
        let entry = |index: usize| Some((inner.entries.get(index)?, *inner.starts.get(index)?));
        match kind {
            PartKind::LocalHeader(index) => {
                if let Some((entry, start)) = entry(index) {
                    records::write_local_header(entry, start, out);
                }
            }
            PartKind::DirectoryRecord(index) => {
                if let Some((entry, start)) = entry(index) {
                    records::write_directory_record(entry, start, out);
                }
            }
            PartKind::File(_) => {}
            PartKind::End => records::write_end(inner.directory, out),
        }
    }
}

fn after(offset: u64, length_bytes: u64) -> Result<u64, LayoutError> {
    offset.checked_add(length_bytes).ok_or(LayoutError::TooLarge)
}

/// Searches sorted offsets for the last one that is not after `offset`.
fn last_at_or_before(starts: &[u64], offset: u64) -> Option<usize> {
    starts.partition_point(|start| *start <= offset).checked_sub(1)
}
