//! Cursors of lists. They are opaque to clients and encrypted: forged cursors are refused, and the start of the next
//! page does not reveal entries that the caller may not see.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Serialize;
use serde::de::DeserializeOwned;
use waybill_http_kit::Problem;
use waybill_schema::CompanyId;
use waybill_schema::ErrorCode;
use waybill_service_kit::Secrets;
use waybill_service_kit::sealing::SealingKeys;

/// Keys that encrypt cursors. All gateways have the same keys.
pub(crate) struct CursorKey(SealingKeys);

impl CursorKey {
    /// Derives the keys from secrets that all gateways share.
    pub(crate) fn derive(secrets: &Secrets) -> Option<Self> {
        SealingKeys::derive(secrets, "waybill cursors").map(Self)
    }

    /// Returns a cursor for `place` in a list of `company`.
    pub(crate) fn seal<T: Serialize>(&self, company: CompanyId, place: &T) -> Option<String> {
        let sealed = self.0.seal(company.0.as_bytes(), serde_json::to_vec(place).ok()?)?;
        Some(BASE64URL.encode(sealed))
    }

    /// Returns the place that a cursor contains.
    ///
    /// # Errors
    /// 400 `cursor_invalid` if the cursor was not issued to this company.
    pub(crate) fn read<T: DeserializeOwned>(&self, company: CompanyId, cursor: &str) -> Result<T, Problem> {
        let sealed = BASE64URL.decode(cursor).ok();
        let opened = sealed.and_then(|sealed| self.0.open(company.0.as_bytes(), &sealed));
        let place = opened.and_then(|place| serde_json::from_slice(&place).ok());
        place.ok_or_else(|| {
            Problem::bad_request(
                ErrorCode::CursorInvalid,
                "the cursor was not issued to this company; request the first page again",
            )
        })
    }
}
