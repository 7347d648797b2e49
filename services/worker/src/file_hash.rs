//! Running digests of the bytes of a file: SHA-256, and the CRC-32 that archives of the file need.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};
use waybill_schema::Sha256Digest;

/// Number of bytes of the state of the CRC-32 at the end of [`FileHash::to_state`].
const CRC_BYTES: usize = 4;

/// Running digests of the bytes of a file.
#[derive(Clone)]
pub(crate) struct FileHash {
    sha256: Sha256,
    crc32: Crc,
}

/// Digests of all bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileDigests {
    pub(crate) sha256: Sha256Digest,
    /// CRC-32 (ISO-HDLC), as in zip archives.
    pub(crate) crc32: u32,
}

impl FileHash {
    pub(crate) fn new() -> Self {
        Self { sha256: Sha256::new(), crc32: Crc::new(CrcAlgorithm::Crc32IsoHdlc) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc32.update(bytes);
    }

    pub(crate) fn finish(self) -> FileDigests {
        FileDigests { sha256: Sha256Digest(self.sha256.finalize().into()), crc32: lower(self.crc32.finalize()) }
    }

    /// Returns the state, from which [`FileHash::from_state`] continues.
    pub(crate) fn to_state(&self) -> Vec<u8> {
        let mut state = self.sha256.serialize().to_vec();
        state.extend(lower(self.crc32.get_state()).to_be_bytes());
        state
    }

    /// Reads a state; `None` if it is damaged.
    pub(crate) fn from_state(state: &[u8]) -> Option<Self> {
        let (sha256, crc32) = state.split_at_checked(state.len().checked_sub(CRC_BYTES)?)?;
        let sha256 = Sha256::deserialize(&SerializedState::<Sha256>::try_from(sha256).ok()?).ok()?;
        let crc32 = u32::from_be_bytes(crc32.try_into().ok()?);
        Some(Self { sha256, crc32: Crc::new_with_init_state(CrcAlgorithm::Crc32IsoHdlc, u64::from(crc32)) })
    }
}

/// Returns the lower 32 bits, which contain a CRC-32.
fn lower(crc: u64) -> u32 {
    (crc & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_goes_on_from_its_state() {
        let mut hash = FileHash::new();
        hash.update(b"1234");
        let mut continued = FileHash::from_state(&hash.to_state()).unwrap();
        continued.update(b"56789");
        let digests = continued.finish();
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(digests.crc32, 0xCBF4_3926);
        assert_eq!(digests.sha256, Sha256Digest(Sha256::digest(b"123456789").into()));
        assert!(FileHash::from_state(&hash.to_state()[1..]).is_none());
        assert!(FileHash::from_state(&[]).is_none());
    }
}
