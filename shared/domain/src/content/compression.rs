//! Decides which files are compressed.

use crate::media_type::essence;
use crate::upload::{self, Phase};

/// Minimum size in bytes of a file that is compressed. A smaller one gains too little for the events and requests.
pub const MIN_BYTES: u64 = 64 << 10;
/// Maximum number of files that refer to an object that is compressed. One event names all of them.
pub const REFERENCES_MAX: usize = 1_000;
/// Number of bytes from the beginning of a file with which compression is tried.
pub const TRIAL_BYTES: u64 = 1 << 20;
/// Maximum size of a compressed beginning in percent, so that the whole file is compressed.
const TRIAL_MAX_PERCENT: u64 = 85;
/// Maximum size of a compressed file in percent, so that it replaces the file.
const STORED_MAX_PERCENT: u64 = 90;

/// Types whose bytes are compressed already. The condition of the index `file_to_compress` has the same list in the same order.
pub const COMPRESSED: [&str; 34] = [
    "application/epub+zip",
    "application/gzip",
    "application/java-archive",
    "application/pdf",
    "application/vnd.android.package-archive",
    "application/vnd.oasis.opendocument.presentation",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-lz4",
    "application/x-xz",
    "application/zip",
    "application/zstd",
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/webm",
    "font/woff",
    "font/woff2",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
];

/// Returns `true` if it is worth trying to compress a verified file.
pub fn is_suitable(upload: &upload::State) -> bool {
    let (Phase::Verified { .. }, Some(started)) = (&upload.phase, &upload.started) else { return false };
    let mime_type = essence(upload.sniffed_mime_type.as_deref().unwrap_or(&started.mime_type));
    let is_compressed = mime_type.starts_with("video/") || COMPRESSED.contains(&mime_type.as_str());
    upload.grid().size_bytes >= MIN_BYTES && !is_compressed
}

/// Returns `true` if the size of a compressed beginning promises enough.
pub fn is_promising(size_bytes: u64, compressed_bytes: u64) -> bool {
    compressed_bytes.saturating_mul(100) <= size_bytes.saturating_mul(TRIAL_MAX_PERCENT)
}

/// Returns the largest size in bytes of a compressed object that replaces an object of `size_bytes`.
pub fn stored_max(size_bytes: u64) -> u64 {
    size_bytes / 100 * STORED_MAX_PERCENT
}
