//! Checksums that a client sends with a body, to be compared with the received bytes.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use waybill_schema::Sha256Digest;

/// The supported algorithms, in the format of `Tus-Checksum-Algorithm`.
pub const ALGORITHMS: &str = "sha1,sha256,crc32,crc32c";

/// The expected checksum of a body. Its text has the format of `Upload-Checksum` in tus 1.0: the algorithm, a space,
/// and the checksum in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-1, which tus 1.0 requires from every server with checksums. It protects only against accidental changes.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
    /// CRC-32 (ISO-HDLC), big-endian, as in zlib. The AWS SDKs add it to parts by default.
    Crc32([u8; 4]),
    /// CRC-32C (Castagnoli), big-endian.
    Crc32c([u8; 4]),
}

/// The reason why a text is not a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// The algorithm is not one of [`ALGORITHMS`].
    #[error("the algorithm must be one of {ALGORITHMS}")]
    Algorithm,
    /// The value is not base64, or its length does not match the algorithm.
    #[error("the checksum must be the algorithm's digest in base64")]
    Value,
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (algorithm, value) = text.trim().split_once(' ').ok_or(ChecksumError::Value)?;
        let decode = || BASE64.decode(value.trim()).map_err(|_| ChecksumError::Value);
        match algorithm {
            "sha1" => decode()?.try_into().map(Self::Sha1).map_err(|_| ChecksumError::Value),
            "sha256" => decode()?.try_into().map(Self::Sha256).map_err(|_| ChecksumError::Value),
            "crc32" => decode()?.try_into().map(Self::Crc32).map_err(|_| ChecksumError::Value),
            "crc32c" => decode()?.try_into().map(Self::Crc32c).map_err(|_| ChecksumError::Value),
            _ => Err(ChecksumError::Algorithm),
        }
    }
}

impl Checksum {
    /// Returns the CRC-32 of these bytes.
    pub fn crc32_of(bytes: &[u8]) -> Self {
        // The lower 32 bits contain the CRC.
        Self::Crc32((crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_be_bytes())
    }

    /// Returns the checksum in base64.
    pub fn value(&self) -> String {
        match self {
            Self::Sha1(value) => BASE64.encode(value),
            Self::Sha256(value) => BASE64.encode(value),
            Self::Crc32(value) | Self::Crc32c(value) => BASE64.encode(value),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self {
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
            Self::Crc32(_) => "crc32",
            Self::Crc32c(_) => "crc32c",
        };
        write!(f, "{algorithm} {}", self.value())
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl From<Sha256Digest> for Checksum {
    fn from(digest: Sha256Digest) -> Self {
        Self::Sha256(digest.0)
    }
}

/// Computes a checksum and compares it with the expected one.
pub struct Verifier {
    expected: Checksum,
    running: Running,
}

enum Running {
    Sha1(Sha1),
    Sha256(Sha256),
    Crc32(crc_fast::Digest),
    Crc32c(crc_fast::Digest),
}

impl Verifier {
    /// Creates a verifier that has received no bytes yet.
    pub fn new(expected: Checksum) -> Self {
        let running = match expected {
            Checksum::Sha1(_) => Running::Sha1(Sha1::new()),
            Checksum::Sha256(_) => Running::Sha256(Sha256::new()),
            Checksum::Crc32(_) => Running::Crc32(crc_fast::Digest::new(CrcAlgorithm::Crc32IsoHdlc)),
            Checksum::Crc32c(_) => Running::Crc32c(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
        };
        Self { expected, running }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.running {
            Running::Sha1(sha1) => sha1.update(bytes),
            Running::Sha256(sha256) => sha256.update(bytes),
            Running::Crc32(crc) | Running::Crc32c(crc) => crc.update(bytes),
        }
    }

    /// Returns `true` if the bytes have the expected checksum.
    pub fn is_met(self) -> bool {
        let found = match self.running {
            Running::Sha1(sha1) => Checksum::Sha1(sha1.finalize().into()),
            Running::Sha256(sha256) => Checksum::Sha256(sha256.finalize().into()),
            // The lower 32 bits contain the CRC.
            Running::Crc32(crc) => Checksum::Crc32((crc.finalize() as u32).to_be_bytes()),
            Running::Crc32c(crc) => Checksum::Crc32c((crc.finalize() as u32).to_be_bytes()),
        };
        found == self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> bool {
        let mut verifier = Verifier::new(text.parse().unwrap());
        verifier.update(b"hello ");
        verifier.update(b"world");
        verifier.is_met()
    }

    #[test]
    fn known_checksums_are_met() {
        assert!(of("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="));
        assert!(of("sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="));
        assert!(of("crc32 DUoRhQ=="));
        assert!(of(&Checksum::crc32_of(b"hello world").to_string()));
        assert!(of("crc32c yZRlqg=="));
        assert!(!of("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu4="));
    }

    #[test]
    fn what_is_no_checksum_is_told() {
        assert_eq!("md5 XrY7u+Ae7tCTyyK7j1rNww==".parse::<Checksum>(), Err(ChecksumError::Algorithm));
        for text in ["sha1", "sha1 ", "sha1 !!!", "sha1 AAAA", "sha256 Kq5sNclPz7QV2+lfQIuc6R7oRu0="] {
            assert_eq!(text.parse::<Checksum>(), Err(ChecksumError::Value), "{text}");
        }
        let sum: Checksum = "crc32c yZRlqg==".parse().unwrap();
        assert_eq!(sum.to_string().parse(), Ok(sum));
    }
}
