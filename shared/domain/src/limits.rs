//! Limits on sizes, numbers and times of uploads.

use crate::Refusal;

/// Size of a part in bytes. Larger parts are used if the file would otherwise have more than [`MAX_PARTS`] parts.
pub const PART_SIZE_BYTES: u64 = 8 * 1024 * 1024;
/// Maximum number of parts: S3 allows the part numbers 1 to 10,000 in a multipart upload.
pub const MAX_PARTS: u64 = 10_000;
/// Time in milliseconds during which an open session accepts new files.
pub const SESSION_LIFETIME_MS: i64 = 7 * 24 * 3_600_000;
/// Number of bytes by which the reservation of an upload of unknown length is raised at a time.
pub const RESERVATION_STEP_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes reserved for a direct upload of unknown size at its start, and for each of its parts that was signed and is
/// not stored yet. S3 allows no smaller parts, except for the last one.
pub const UNKNOWN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// Maximum number of items in one event of the quota.
pub const RESERVATION_ITEMS_MAX: usize = 64;

/// Number of staged pieces of an upload that can have any size. Whole parts do not count.
pub const PIECES_FREE: u32 = 10_000;
/// Number of pieces into which a file can be cut at most, if each piece has the minimum size that applies after
/// [`PIECES_FREE`] pieces. A client that needs the whole lifetime of an upload (one week) transfers such a piece in 15
/// s.
const PIECES_LATER: u64 = 40_000;

/// Returns the minimum number of new bytes of a piece after an upload of this size has [`PIECES_FREE`] pieces.
pub fn least_piece_bytes(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(PIECES_LATER)
}

/// Limits on sizes, all inclusive. A company can set lower limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of one file in bytes.
    pub max_file_bytes: u64,
    /// Maximum size of all files of a session together, in bytes.
    pub max_session_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_file_bytes: 10 * 1024 * 1024 * 1024, max_session_bytes: 50 * 1024 * 1024 * 1024 }
    }
}

impl Limits {
    /// Returns these limits, reduced to those of a company if they are lower.
    #[must_use]
    pub fn lowered(self, max_file_bytes: Option<u64>, max_session_bytes: Option<u64>) -> Self {
        Self {
            max_file_bytes: self.max_file_bytes.min(max_file_bytes.unwrap_or(u64::MAX)),
            max_session_bytes: self.max_session_bytes.min(max_session_bytes.unwrap_or(u64::MAX)),
        }
    }

    /// Checks whether a file of this size may be uploaded.
    ///
    /// # Errors
    /// [`Refusal::FileTooLarge`] if not.
    pub fn check_file(&self, size_bytes: u64) -> Result<(), Refusal> {
        if size_bytes > self.max_file_bytes {
            return Err(Refusal::FileTooLarge { size_bytes, limit_bytes: self.max_file_bytes });
        }
        Ok(())
    }
}

/// Limits on open uploads, all inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenLimits {
    /// Maximum number of open uploads of a user.
    pub per_user: u32,
    /// Maximum number of open uploads of a company.
    pub per_company: u32,
    /// Maximum share of the storage limit of the company that a user can reserve, in percent. A user can always reserve
    /// the maximum size of one file.
    pub user_percent: u8,
}

impl OpenLimits {
    /// No limits, for changes of uploads that were admitted before.
    pub const NONE: Self = Self { per_user: u32::MAX, per_company: u32::MAX, user_percent: 100 };
}

impl Default for OpenLimits {
    fn default() -> Self {
        Self { per_user: 50_000, per_company: 200_000, user_percent: 50 }
    }
}

/// Returns the part size for a file: [`PART_SIZE_BYTES`], doubled until at most [`MAX_PARTS`] parts are needed.
pub fn part_size_for(size_bytes: u64) -> u64 {
    let mut part_size_bytes = PART_SIZE_BYTES;
    while size_bytes.div_ceil(part_size_bytes) > MAX_PARTS {
        part_size_bytes *= 2;
    }
    part_size_bytes
}
