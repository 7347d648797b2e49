//! Keys of media URLs.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use waybill_service_kit::Secrets;

/// Beginning of the signed text, so that no other signature of Waybill is one of a media URL.
const CONTEXT: &[u8] = b"waybill media 1\0";

/// Number of hexadecimal digits of an id.
const ID_DIGITS: usize = 8;

/// A key of media URLs. An edge of a content delivery network that has it can check URLs, and also make them.
#[derive(Clone)]
pub struct MediaKey {
    /// Parameter `k` of the URLs.
    pub id: String,
    /// The key of HMAC-SHA256: this text in ASCII, not decoded.
    pub text: String,
}

impl MediaKey {
    fn derive(secret: &[u8]) -> Option<Self> {
        let key = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(b"waybill media keys\0");
        let text = BASE64URL.encode(key.finalize().into_bytes());
        let digest = Sha256::digest(&text);
        let mut id: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        id.truncate(ID_DIGITS);
        Some(Self { id, text })
    }

    fn mac(&self, signed: &str) -> Option<Hmac<Sha256>> {
        let key = Hmac::<Sha256>::new_from_slice(self.text.as_bytes()).ok()?;
        Some(key.chain_update(CONTEXT).chain_update(signed))
    }
}

/// The keys of media URLs: the first one signs, and all are accepted.
pub struct MediaKeys(Vec<MediaKey>);

impl MediaKeys {
    /// Derives the keys from the secrets of download tokens, which all gateways share.
    pub fn derive(secrets: &Secrets) -> Self {
        Self(secrets.all().filter_map(MediaKey::derive).collect())
    }

    /// Returns the keys. The first one signs.
    pub fn all(&self) -> &[MediaKey] {
        &self.0
    }

    /// Adds the parameters `k` and `s` to a path with a query.
    pub(crate) fn sign(&self, unsigned: &str) -> Option<String> {
        let key = self.0.first()?;
        let signed = format!("{unsigned}&k={}", key.id);
        let signature = BASE64URL.encode(key.mac(&signed)?.finalize().into_bytes());
        Some(format!("{signed}&s={signature}"))
    }

    /// Checks a path with a query, and returns it without the parameters `k` and `s`; `None` if no key has signed it.
    pub(crate) fn check<'a>(&self, url: &'a str) -> Option<&'a str> {
        let (signed, signature) = url.rsplit_once("&s=")?;
        let (unsigned, id) = signed.rsplit_once("&k=")?;
        let signature = BASE64URL.decode(signature).ok()?;
        let key = self.0.iter().find(|key| key.id == id)?;
        key.mac(signed)?.verify_slice(&signature).ok().map(|()| unsigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> MediaKeys {
        MediaKeys::derive(&Secrets::read("WAYBILL_TOKEN_SECRET", &secrets.join(","), None).unwrap())
    }

    const OLD: &str = "an old secret of at least 32 bytes that was replaced";
    const NEW: &str = "a new secret of at least 32 bytes for media URLs";

    #[test]
    fn only_unchanged_urls_of_a_known_key_are_accepted() {
        let old = keys(&[OLD]);
        let both = keys(&[NEW, OLD]);
        let url = old.sign("/m/a?e=1").unwrap();
        assert_eq!(both.check(&url), Some("/m/a?e=1"));
        assert_eq!(keys(&[NEW]).check(&url), None);
        assert_ne!(both.sign("/m/a?e=1").unwrap(), url);
        for (position, _) in url.char_indices() {
            let mut changed = url.clone().into_bytes();
            changed[position] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(both.check(&changed), None, "{changed}");
            assert_eq!(both.check(&url[..position]), None);
        }
        assert_eq!(both.check(&format!("{url}A")), None);
        assert_eq!(both.check(&format!("{url}&x=1")), None);
    }
}
