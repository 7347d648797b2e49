//! A file of which only some pieces are available.

use bytes::Bytes;
use std::io::{Error, Read, Result, Seek, SeekFrom};

/// Reads like a whole file. If a read needs a piece that is missing, it fails, and its offset is noted.
pub(super) struct Pieces {
    size_bytes: u64,
    at: u64,
    pieces: Vec<(u64, Bytes)>,
    missing: Option<u64>,
}

impl Pieces {
    /// Creates a file of this size without any pieces.
    pub(super) fn new(size_bytes: u64) -> Self {
        Self { size_bytes, at: 0, pieces: Vec::new(), missing: None }
    }

    /// Adds the bytes at `from`.
    pub(super) fn add(&mut self, from: u64, bytes: Bytes) {
        self.pieces.push((from, bytes));
    }

    /// Returns the piece at the beginning of the file, or nothing if it is missing.
    pub(super) fn head(&self) -> Bytes {
        self.pieces.iter().find(|(from, _)| *from == 0).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }

    /// Returns the first offset that was missing since the last call, and sets the read position to the first byte.
    pub(super) fn take_missing(&mut self) -> Option<u64> {
        self.at = 0;
        self.missing.take()
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.at >= self.size_bytes || buffer.is_empty() {
            return Ok(0);
        }
        let found = self.pieces.iter().find_map(|(from, bytes)| {
            let skip = usize::try_from(self.at.checked_sub(*from)?).ok()?;
            bytes.get(skip..).filter(|rest| !rest.is_empty())
        });
        let Some(rest) = found else {
            self.missing.get_or_insert(self.at);
            return Err(Error::other("a piece of the file is missing"));
        };
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Pieces {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size_bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::other("seek to a position before the first byte"))?;
        Ok(self.at)
    }
}
