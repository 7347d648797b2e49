//! Keys that sign the heads of audits.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waybill_api::audit::{Head, SignedHead};
use waybill_service_kit::Secrets;

/// Keys that sign the heads of trees (Ed25519, RFC 8032). All gateways have the same keys. The first one signs.
pub(crate) struct HeadKey(Vec<Ed25519KeyPair>);

impl HeadKey {
    /// Derives the keys from secrets that all gateways share.
    pub(crate) fn derive(secrets: &Secrets) -> Option<Self> {
        secrets.all().map(key).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Returns the public keys in base64, the one that signs first.
    pub(crate) fn public(&self) -> Vec<String> {
        self.0.iter().map(|key| BASE64.encode(key.public_key().as_ref())).collect()
    }

    /// Signs a head.
    pub(crate) fn sign(&self, head: Head) -> Option<SignedHead> {
        let key = self.0.first()?;
        let signature = BASE64.encode(key.sign(head.signed_text()?.as_bytes()).as_ref());
        Some(SignedHead { head, resume: None, public_key: BASE64.encode(key.public_key().as_ref()), signature })
    }

    /// Returns `true` if one of the keys has signed the head.
    pub(crate) fn has_signed(&self, signed: &SignedHead) -> bool {
        let (Some(text), Ok(signature)) = (signed.head.signed_text(), BASE64.decode(&signed.signature)) else {
            return false;
        };
        let by = |key: &Ed25519KeyPair| {
            UnparsedPublicKey::new(&ED25519, key.public_key().as_ref()).verify(text.as_bytes(), &signature).is_ok()
        };
        self.0.iter().any(by)
    }
}

fn key(secret: &[u8]) -> Option<Ed25519KeyPair> {
    let mut seed = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    seed.update(b"waybill audit heads\0");
    Ed25519KeyPair::from_seed_unchecked(&seed.finalize().into_bytes()).ok()
}
