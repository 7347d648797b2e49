//! Encryption of what other parties keep for this service: cursors at clients, rows in a shared cache.

use crate::Secrets;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

/// Keys that encrypt and authenticate (AES-256-GCM-SIV, RFC 8452). Processes with the same secrets have the same keys. The first one
/// encrypts, and all decrypt.
pub struct SealingKeys(Vec<RandomizedNonceKey>);

impl SealingKeys {
    /// Derives keys for one purpose from secrets that all processes share.
    pub fn derive(secrets: &Secrets, purpose: &str) -> Option<Self> {
        let key = |secret: &[u8]| {
            let mut key = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
            key.update(purpose.as_bytes());
            key.update(b"\0");
            RandomizedNonceKey::new(&AES_256_GCM_SIV, key.sign().as_ref()).ok()
        };
        secrets.all().map(key).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Encrypts bytes. They can be opened only with the same `context`.
    pub fn seal(&self, context: &[u8], mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = self.0.first()?.seal_in_place_append_tag(Aad::from(context), &mut bytes).ok()?;
        bytes.splice(..0, *nonce.as_ref());
        Some(bytes)
    }

    /// Decrypts bytes; `None` if they were not sealed with one of the keys and this `context`.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut bytes = sealed.to_vec();
            let length = key.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?.len();
            bytes.truncate(length);
            Some(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &str) -> SealingKeys {
        let secrets = Secrets::read("WAYBILL_TEST_SECRET", secrets, None).unwrap();
        SealingKeys::derive(&secrets, "tests").unwrap()
    }

    #[test]
    fn only_the_same_secret_and_context_open_what_was_sealed() {
        let (old, new) = ("o".repeat(32), "n".repeat(32));
        let sealed = keys(&old).seal(b"here", b"bytes".to_vec()).unwrap();
        assert_eq!(keys(&format!("{new},{old}")).open(b"here", &sealed).unwrap(), b"bytes");
        assert_eq!(keys(&new).open(b"here", &sealed), None);
        assert_eq!(keys(&old).open(b"there", &sealed), None);
        for changed in 0..sealed.len() {
            let mut sealed = sealed.clone();
            sealed[changed] ^= 1;
            assert_eq!(keys(&old).open(b"here", &sealed), None);
        }
        assert_eq!(keys(&old).open(b"here", b""), None);
    }
}
