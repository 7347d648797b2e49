//! Description of a file in an archive.

/// A file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path in the archive, with `/` between folders. It is written as it is: see [`safe_names`](crate::safe_names).
    pub name: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// CRC-32 of the file, as in gzip (ISO-HDLC).
    pub crc32: u32,
    /// Time of the last change: seconds since 1970, UTC.
    pub modified_s: i64,
}
