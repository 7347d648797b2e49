//! Names of entries.

use sha2::{Digest, Sha256};
use waybill_schema::Sha256Digest;

/// Name of an entry: a digest of everything on which its value depends, apart from the state of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name(Sha256Digest);

impl Name {
    /// Returns the name of what `parts` describe. Different parts have different names.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self(Sha256Digest(digest.finalize().into()))
    }

    pub(crate) fn digest(self) -> Sha256Digest {
        self.0
    }

    /// Returns the key in Redis.
    pub(crate) fn key(self) -> String {
        format!("waybill:{}", hex::encode(self.0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_parts_have_different_names() {
        let names = [Name::of(&[b"a", b"bc"]), Name::of(&[b"ab", b"c"]), Name::of(&[b"abc"]), Name::of(&[b"abc", b""])];
        for (number, name) in names.iter().enumerate() {
            assert!(names.iter().skip(number + 1).all(|other| other != name));
        }
    }
}
