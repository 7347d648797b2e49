//! Pseudo-random bytes that are the same in every run.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Returns `length` bytes that depend on `seed` (xorshift64*).
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Returns the SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    waybill_schema::Sha256Digest(Sha256::digest(bytes).into()).to_string()
}

/// A large file on disk.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) sha256: String,
}

impl Source {
    /// Writes a file in which no two pieces of 1 MiB are equal.
    pub(crate) fn write(folder: &Path, name: &str, seed: u64, size_bytes: u64) -> Self {
        let path = folder.join(name);
        let mut file = File::create(&path).unwrap();
        let mut sha256 = Sha256::new();
        let mut part = bytes(seed, 1_024 * 1_024);
        let mut left = size_bytes;
        for number in 0_u64.. {
            if left == 0 {
                break;
            }
            part[..8].copy_from_slice(&number.to_le_bytes());
            let length = left.min(part.len() as u64);
            let piece = &part[..usize::try_from(length).unwrap()];
            file.write_all(piece).unwrap();
            sha256.update(piece);
            left -= length;
        }
        Self { path, sha256: waybill_schema::Sha256Digest(sha256.finalize().into()).to_string() }
    }
}
