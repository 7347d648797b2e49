//! How large things may be.

use crate::Refusal;

/// Bytes of a part unless the file would then have more than [`MAX_PARTS`].
pub const PART_SIZE_BYTES: u64 = 8 * 1024 * 1024;
/// S3 allows parts 1 to 10,000 in a multipart upload.
pub const MAX_PARTS: u64 = 10_000;
/// How long after its opening a session takes new files.
pub const SESSION_LIFETIME_MS: i64 = 7 * 24 * 3_600_000;
/// By how much the reservation of an upload of unknown length is raised at a time.
pub const RESERVATION_STEP_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes reserved at first for a file of unknown size that its client puts into the store by itself, and for each of its
/// parts that is signed and not stored yet: S3 has no smaller parts, except for the last.
pub const UNKNOWN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// How many starts may be reserved for by one event.
pub const RESERVATION_ITEMS_MAX: usize = 64;

/// In how many pieces of any size an upload may come, besides whole parts.
pub const PIECES_FREE: u32 = 10_000;
/// Into how many pieces of the least size a file goes that comes in more than [`PIECES_FREE`]. A client that is done in the
/// lifetime of an upload (a week) brings that many bytes in 15 s.
const PIECES_LATER: u64 = 40_000;

/// The fewest new bytes that a piece has once an upload of this size came in [`PIECES_FREE`] pieces.
pub fn least_piece_bytes(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(PIECES_LATER)
}

/// Limits on sizes, all inclusive; a company may have lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file.
    pub max_file_bytes: u64,
    /// Bytes of all files of one session.
    pub max_session_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_file_bytes: 10 * 1024 * 1024 * 1024, max_session_bytes: 50 * 1024 * 1024 * 1024 }
    }
}

impl Limits {
    /// These, or the lower ones that a company says.
    #[must_use]
    pub fn lowered(self, max_file_bytes: Option<u64>, max_session_bytes: Option<u64>) -> Self {
        Self {
            max_file_bytes: self.max_file_bytes.min(max_file_bytes.unwrap_or(u64::MAX)),
            max_session_bytes: self.max_session_bytes.min(max_session_bytes.unwrap_or(u64::MAX)),
        }
    }

    /// Whether a file of this size may be uploaded.
    ///
    /// # Errors
    /// [`Refusal::FileTooLarge`].
    pub fn check_file(&self, size_bytes: u64) -> Result<(), Refusal> {
        if size_bytes > self.max_file_bytes {
            return Err(Refusal::FileTooLarge { size_bytes, limit_bytes: self.max_file_bytes });
        }
        Ok(())
    }
}

/// The size of the parts of a file: [`PART_SIZE_BYTES`], doubled until [`MAX_PARTS`] do.
pub fn part_size_for(size_bytes: u64) -> u64 {
    let mut part_size_bytes = PART_SIZE_BYTES;
    while size_bytes.div_ceil(part_size_bytes) > MAX_PARTS {
        part_size_bytes *= 2;
    }
    part_size_bytes
}
