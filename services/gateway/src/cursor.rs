//! Cursors of lists: opaque to clients, and signed, so that a made-up one is refused instead of read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use waybill_schema::CompanyId;
use waybill_service_kit::Problem;

/// How much of the signature a cursor carries.
const TAG_BYTES: usize = 16;

/// Signs and checks cursors. All gateways have the same key.
pub(crate) struct CursorKey(Hmac<Sha256>);

impl CursorKey {
    /// A key made from a secret that all gateways share.
    pub(crate) fn derive(secret: &str) -> Option<Self> {
        let mut key = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        key.update(b"waybill cursors\0");
        Some(Self(key))
    }

    /// A cursor for `place` in a list of `company`.
    pub(crate) fn sign<T: Serialize>(&self, company: CompanyId, place: &T) -> Option<String> {
        let mut cursor = self.tag(company, &serde_json::to_vec(place).ok()?);
        cursor.extend(serde_json::to_vec(place).ok()?);
        Some(BASE64URL.encode(cursor))
    }

    /// The place that a cursor stands for.
    pub(crate) fn read<T: DeserializeOwned>(&self, company: CompanyId, cursor: &str) -> Result<T, Problem> {
        let invalid =
            || Problem::bad_request("cursor_invalid", "the cursor is none that this service gave out; begin anew");
        let bytes = BASE64URL.decode(cursor).map_err(|_| invalid())?;
        let (tag, place) = bytes.split_at_checked(TAG_BYTES).ok_or_else(invalid)?;
        let mut mac = self.0.clone();
        mac.update(company.0.as_bytes());
        mac.update(place);
        mac.verify_truncated_left(tag).map_err(|_| invalid())?;
        serde_json::from_slice(place).map_err(|_| invalid())
    }

    fn tag(&self, company: CompanyId, place: &[u8]) -> Vec<u8> {
        let mut mac = self.0.clone();
        mac.update(company.0.as_bytes());
        mac.update(place);
        mac.finalize().into_bytes()[..TAG_BYTES].to_vec()
    }
}
