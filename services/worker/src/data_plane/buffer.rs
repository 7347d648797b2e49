//! Buffer for the bytes of one part as they arrive, with the checksum and the digest over them.

use crate::hashing::SpeculativeDigest;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest as Crc};

/// The bytes of a part or of a range of it.
pub(crate) struct PartBuffer {
    bytes: BytesMut,
    length: u64,
    /// `true` if the bytes are kept, `false` if only their checksum is needed.
    keeps: bool,
    crc: Crc,
    ahead: Option<SpeculativeDigest>,
}

/// A finished buffer.
pub(crate) struct FilledPart {
    pub(crate) bytes: Bytes,
    /// Number of bytes, even if they were not kept.
    pub(crate) length: u64,
    pub(crate) crc64nvme: u64,
    pub(crate) ahead: Option<SpeculativeDigest>,
}

impl PartBuffer {
    /// Creates a buffer for up to `capacity` bytes. `ahead` hashes them as they arrive.
    pub(crate) fn new(capacity: u64, ahead: Option<SpeculativeDigest>) -> Self {
        let bytes = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or(0));
        Self { bytes, length: 0, keeps: true, crc: Crc::new(CrcAlgorithm::Crc64Nvme), ahead }
    }

    /// Creates a buffer that only compares bytes with stored ones. It keeps no bytes in memory.
    pub(crate) fn of_stored() -> Self {
        Self { keeps: false, ..Self::new(0, None) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        if let Some(ahead) = &mut self.ahead {
            ahead.update(bytes);
        }
        self.length += bytes.len() as u64;
        if self.keeps {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn finish(self) -> FilledPart {
        FilledPart {
            crc64nvme: self.crc.finalize(),
            length: self.length,
            bytes: self.bytes.freeze(),
            ahead: self.ahead,
        }
    }
}
