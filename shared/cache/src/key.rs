//! Conversion of typed keys into bytes of a fixed length.

use std::net::IpAddr;
use uuid::Uuid;
use waybill_schema::{CompanyId, Entity, Position, Sha256Digest, ShareId, Subject, TokenId, UploadId, UserId};

/// Number of bytes of a key. The longest key consists of a company, a kind of aggregate and a digest.
const LENGTH: usize = 49;

/// A key as bytes, padded with zeros at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyBytes([u8; LENGTH]);

impl KeyBytes {
    /// Concatenates two parts.
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

/// A type of keys. All keys of a cache have one type, so only keys of the same type must have different bytes.
pub trait CacheKey {
    /// Returns bytes that are different for each key of this type.
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

impl CacheKey for Uuid {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(self.as_bytes(), &[])
    }
}

ids!(CompanyId, UploadId);
ids_in_a_company!(UserId, UploadId, ShareId, TokenId);

impl CacheKey for Sha256Digest {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(&self.0, &[])
    }
}

impl CacheKey for (CompanyId, Sha256Digest) {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(self.0.0.as_bytes(), &self.1.0)
    }
}

impl CacheKey for Subject {
    fn bytes(&self) -> KeyBytes {
        let (kind, id): (u8, &[u8]) = match &self.aggregate {
            Entity::UploadLifecycle(id) => (0, id.0.as_bytes()),
            Entity::UploadChunks(id) => (1, id.0.as_bytes()),
            Entity::File(id) => (2, id.0.as_bytes()),
            Entity::Session(id) => (3, id.0.as_bytes()),
            Entity::Quota => (4, &[]),
            Entity::Share(id) => (5, id.0.as_bytes()),
            Entity::Token(id) => (6, id.0.as_bytes()),
            Entity::TokenDownloads(id) => (7, id.0.as_bytes()),
            Entity::Content(sha256) => (8, &sha256.0),
            Entity::Directory => (9, &[]),
            Entity::Link(id) => (10, id.0.as_bytes()),
        };
        let mut aggregate = [0; 33];
        aggregate[0] = kind;
        aggregate[1..=id.len()].copy_from_slice(id);
        KeyBytes::joined(self.company.0.as_bytes(), &aggregate)
    }
}

impl CacheKey for Position {
    fn bytes(&self) -> KeyBytes {
        KeyBytes::joined(&self.partition.to_be_bytes(), &self.seq.to_be_bytes())
    }
}

/// An IPv4 address and its IPv4-mapped IPv6 address are different keys.
impl CacheKey for IpAddr {
    fn bytes(&self) -> KeyBytes {
        match self {
            Self::V4(address) => KeyBytes::joined(&[4], &address.octets()),
            Self::V6(address) => KeyBytes::joined(&[6], &address.octets()),
        }
    }
}
