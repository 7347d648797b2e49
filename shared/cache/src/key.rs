//! Keys as bytes.

use std::net::IpAddr;
use waybill_schema::{CompanyId, Position, Sha256Digest, ShareId, TokenId, UploadId, UserId};

/// How many bytes a key has: as many as the longest, which is a company and a digest.
const LENGTH: usize = 48;

/// A key as bytes, with zeros behind those that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyBytes([u8; LENGTH]);

impl KeyBytes {
    /// Joins two parts.
    fn joined<const A: usize, const B: usize>(first: &[u8; A], second: &[u8; B]) -> Self {
        const { assert!(A + B <= LENGTH, "the parts do not fit into a key") };
        let mut bytes = [0; LENGTH];
        bytes[..A].copy_from_slice(first);
        bytes[A..A + B].copy_from_slice(second);
        Self(bytes)
    }

    pub(crate) fn begins_with(&self, beginning: &[u8]) -> bool {
        self.0.starts_with(beginning)
    }
}

/// A value that can be a key. All keys of a cache are of one type, so only keys of the same type must differ.
pub trait CacheKey {
    /// Returns bytes that differ from those of each other key of this type.
    fn bytes(&self) -> KeyBytes;
}

macro_rules! ids {
    ($($id:ty),* $(,)?) => {
        $(
            impl CacheKey for $id {
                fn bytes(&self) -> KeyBytes {
                    KeyBytes::joined(self.0.as_bytes(), &[])
                }
            }
        )*
    };
}

macro_rules! ids_in_a_company {
    ($($id:ty),* $(,)?) => {
        $(
            impl CacheKey for (CompanyId, $id) {
                fn bytes(&self) -> KeyBytes {
                    KeyBytes::joined(self.0.0.as_bytes(), self.1.0.as_bytes())
                }
            }
        )*
    };
}

ids!(CompanyId, UploadId);
ids_in_a_company!(UserId, UploadId, ShareId, TokenId);

impl CacheKey for (CompanyId, Sha256Digest) {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(self.0.0.as_bytes(), &self.1.0)
    }
}

impl CacheKey for Position {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(&self.partition.to_be_bytes(), &self.seq.to_be_bytes())
    }
}

/// An IPv4 address is another key than the IPv6 address that it is mapped to.
impl CacheKey for IpAddr {
    fn bytes(&self) -> KeyBytes {
        match self {
            Self::V4(address) => KeyBytes::joined(&[4], &address.octets()),
            Self::V6(address) => KeyBytes::joined(&[6], &address.octets()),
        }
    }
}
