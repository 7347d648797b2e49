//! Cursors of lists. They are opaque to clients and encrypted: forged cursors are refused, and the start of the next
//! page does not reveal entries that the caller may not see.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use waybill_http_kit::Problem;
use waybill_schema::CompanyId;
use waybill_schema::ErrorCode;
use waybill_service_kit::Secrets;

/// Keys that encrypt cursors (AES-256-GCM-SIV, RFC 8452). All gateways have the same keys. The first one encrypts.
pub(crate) struct CursorKey(Vec<RandomizedNonceKey>);

impl CursorKey {
    /// Derives the keys from secrets that all gateways share.
    pub(crate) fn derive(secrets: &Secrets) -> Option<Self> {
        secrets.all().map(key).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Returns a cursor for `place` in a list of `company`.
    pub(crate) fn seal<T: Serialize>(&self, company: CompanyId, place: &T) -> Option<String> {
        let mut sealed = serde_json::to_vec(place).ok()?;
        let nonce = self.0.first()?.seal_in_place_append_tag(Aad::from(company.0.as_bytes()), &mut sealed).ok()?;
        Some(BASE64URL.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// Returns the place that a cursor contains.
    ///
    /// # Errors
    /// 400 `cursor_invalid` if the cursor was not issued to this company.
    pub(crate) fn read<T: DeserializeOwned>(&self, company: CompanyId, cursor: &str) -> Result<T, Problem> {
        let invalid = || {
            Problem::bad_request(
                ErrorCode::CursorInvalid,
                "the cursor was not issued to this company; request the first page again",
            )
        };
        let bytes = BASE64URL.decode(cursor).map_err(|_| invalid())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(invalid)?;
        let opened = self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut sealed = sealed.to_vec();
            let place = key.open_in_place(nonce, Aad::from(company.0.as_bytes()), &mut sealed).ok()?;
            serde_json::from_slice(place).ok()
        });
        opened.ok_or_else(invalid)
    }
}

fn key(secret: &[u8]) -> Option<RandomizedNonceKey> {
    let mut key = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    key.update(b"waybill cursors\0");
    RandomizedNonceKey::new(&AES_256_GCM_SIV, &key.finalize().into_bytes()).ok()
}
