//! The manifest of an archive, and the token in its URL.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;
use waybill_domain::access::Viewer;
use waybill_schema::{CompanyId, FileId, Sha256Digest, Timestamp, UserId, names};
use waybill_zip_layout::{Entry, Layout, LayoutError};

const ID_BYTES: usize = 16;
const EXPIRY_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// Bytes that an item occupies in memory, about, without its name.
const ITEM_BYTES: usize = 256;

/// The list of the files of an archive, as JSON in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Digest of the secret in the URL.
    pub(super) secret_sha256: Sha256Digest,
    /// Name of the archive.
    pub(crate) name: String,
    /// The user that made the archive, and with whose rights it is read.
    pub(crate) user: UserId,
    /// `true` if the user was an admin.
    pub(crate) as_admin: bool,
    /// Time before which tokens of the user were invalid when the archive was made, if any.
    pub(crate) tokens_valid_from: Option<Timestamp>,
    /// A time before the access to the files was checked.
    pub(crate) since: Timestamp,
    pub(crate) items: Vec<Item>,
}

/// A file of an archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) file: FileId,
    /// Name in the archive.
    pub(crate) name: String,
    /// The bytes: those of the file, or those without metadata.
    pub(crate) sha256: Sha256Digest,
    pub(crate) size_bytes: u64,
    /// CRC-32 (ISO-HDLC) of the bytes.
    pub(crate) crc32: u32,
    pub(crate) created_at: Timestamp,
    /// Time until which the user has access to the file if nothing happens.
    pub(crate) readable_until: Timestamp,
}

impl Manifest {
    /// Lays out the archive.
    ///
    /// # Errors
    /// [`LayoutError`] if it is too large.
    pub(crate) fn layout(&self) -> Result<Layout, LayoutError> {
        let entry = |item: &Item| Entry {
            name: item.name.clone(),
            size_bytes: item.size_bytes,
            crc32: item.crc32,
            modified_s: item.created_at.0.div_euclid(1_000),
        };
        Layout::new(self.items.iter().map(entry).collect())
    }

    /// Returns `true` if the token has the secret of this archive.
    pub(super) fn is_of(&self, token: &ArchiveToken) -> bool {
        self.secret_sha256.0.ct_eq(&token.secret_sha256().0).into()
    }
}

/// An archive that can be read until its end.
pub(crate) struct Archive {
    pub(crate) company: CompanyId,
    /// Digest of the token.
    pub(super) key: (CompanyId, Sha256Digest),
    pub(crate) manifest: Manifest,
    pub(crate) layout: Layout,
    /// The entity tag, in quotes.
    pub(crate) etag: String,
}

impl Archive {
    /// Returns the bytes that the archive occupies in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.manifest.items.iter().map(|item| ITEM_BYTES + 2 * item.name.len()).sum()
    }

    /// Returns the user with whose rights the archive is read.
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { user_id: self.manifest.user, is_admin: self.manifest.as_admin }
    }
}

/// The secret part of the URL of an archive: its company, its id, its end and 256 random bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchiveToken {
    pub(crate) company: CompanyId,
    pub(crate) id: Uuid,
    /// End of the archive, in seconds since 1970.
    pub(crate) expires_s: u64,
    secret: [u8; SECRET_BYTES],
}

impl ArchiveToken {
    /// Makes the token of a new archive.
    pub(super) fn new(company: CompanyId, id: Uuid, expires_s: u64) -> Self {
        let mut secret = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut secret);
        Self { company, id, expires_s, secret }
    }

    pub(super) fn secret_sha256(&self) -> Sha256Digest {
        Sha256Digest(Sha256::digest(self.secret).into())
    }

    /// Returns the key of the manifest.
    pub(super) fn key(&self) -> String {
        names::archive_key(self.expires_s, self.company, self.id)
    }

    /// Returns the text in the URL.
    pub(super) fn text(&self) -> String {
        let expires_s = self.expires_s.to_be_bytes();
        BASE64URL.encode([&self.company.0.as_bytes()[..], self.id.as_bytes(), &expires_s, &self.secret].concat())
    }

    /// Parses what [`ArchiveToken::text`] returns; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL.decode(text).ok()?;
        let (company, rest) = bytes.split_at_checked(ID_BYTES)?;
        let (id, rest) = rest.split_at_checked(ID_BYTES)?;
        let (expires_s, secret) = rest.split_at_checked(EXPIRY_BYTES)?;
        Some(Self {
            company: CompanyId(Uuid::from_slice(company).ok()?),
            id: Uuid::from_slice(id).ok()?,
            expires_s: u64::from_be_bytes(expires_s.try_into().ok()?),
            secret: secret.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_text() {
        let token = ArchiveToken::new(CompanyId(Uuid::from_u128(1)), Uuid::from_u128(2), 1_764_000_000);
        let text = token.text();
        assert_eq!(ArchiveToken::parse(&text), Some(token));
        for other in [&text[1..], &format!("{text}AAAA"), "", "?"] {
            assert_eq!(ArchiveToken::parse(other), None, "{other}");
        }
    }
}
