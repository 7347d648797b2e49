//! Compressed objects of files, in the seekable Zstandard format: independent frames (RFC 8878 §3.1.1) of [`FRAME_BYTES`] and a
//! table of their sizes in a skippable frame (RFC 8878 §3.1.2) at the end. `zstd -d` reads such an object like any other.
//!
//! The key of an object says whether it is compressed ([`waybill_schema::names::is_compressed`]), so that nobody can take the
//! stored bytes for the bytes of the file. [`FileBytes`] reads objects of both kinds.

mod decode;
mod encode;
mod file_bytes;
mod small;
mod table;

pub use decode::{DecodeError, Decoder};
pub use encode::{EncodeError, Encoder};
pub use file_bytes::FileBytes;
pub use table::{Table, TableError, table_bytes};

/// Number of bytes of a file in a frame. The last frame can have fewer. A decoder needs twice as much memory, and each download of
/// a compressed file has one.
pub const FRAME_BYTES: usize = 256 << 10;

/// [`FRAME_BYTES`] as a position in a file.
pub(crate) const FRAME: u64 = FRAME_BYTES as u64;
