//! Key that signs the audit exports.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Key that signs the heads of chains (Ed25519, RFC 8032). All gateways have the same key.
pub(crate) struct HeadKey(Ed25519KeyPair);

impl HeadKey {
    /// Derives the key from a secret that all gateways share.
    pub(crate) fn derive(secret: &str) -> Option<Self> {
        let mut seed = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        seed.update(b"waybill audit heads\0");
        Ed25519KeyPair::from_seed_unchecked(&seed.finalize().into_bytes()).ok().map(Self)
    }

    /// Returns the public key in base64.
    pub(crate) fn public(&self) -> String {
        BASE64.encode(self.0.public_key().as_ref())
    }

    /// Returns the signature of `text` in base64.
    pub(crate) fn sign(&self, text: &str) -> String {
        BASE64.encode(self.0.sign(text.as_bytes()).as_ref())
    }
}
