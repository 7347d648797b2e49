//! Converts numbers, times and ids to the types of PostgreSQL. The limits for sizes are far below the limits of the
//! types.

use super::misfit::Misfit;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use waybill_read_model::ids::NAMESPACE;
use waybill_read_model::rows::JsonText;
use waybill_schema::{CompanyId, Sha256Digest, Timestamp};

pub(super) fn time_of(time: Timestamp) -> DateTime<Utc> {
    /// 9999-12-31T23:59:59.999Z. Later years are written with a sign, which PostgreSQL reads as a time zone.
    const LAST: i64 = 253_402_300_799_999;
    DateTime::from_timestamp_millis(time.0.min(LAST)).unwrap_or_default()
}

pub(super) fn ms_of(time: DateTime<Utc>) -> Timestamp {
    Timestamp(time.timestamp_millis())
}

pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn small(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// Returns the constant id of the quota of a company.
pub(super) fn id_of_quota(company: CompanyId) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("quota:{company}").as_bytes())
}

/// Returns the id of the content that files of a company share.
pub(super) fn id_of_content(company: CompanyId, sha256: Sha256Digest) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("content:{company}:{sha256}").as_bytes())
}

/// Returns the column for the metadata of a file.
pub(super) fn metadata(text: Option<&str>) -> Result<Option<JsonText>, Misfit> {
    text.map(waybill_domain::metadata::check).transpose().map_err(|refusal| Misfit(refusal.to_string()))?;
    text.map(JsonText::parse).transpose().map_err(|error| Misfit(format!("metadata is not JSON: {error}")))
}
