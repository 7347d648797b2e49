//! Formats of times in responses.

use actix_web::http::header::HttpDate;
use chrono::{DateTime, SecondsFormat};
use std::time::{Duration, SystemTime};
use waybill_schema::Timestamp;

pub(crate) fn rfc3339(time: Timestamp) -> String {
    DateTime::from_timestamp_millis(time.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Formats a time as an HTTP date (RFC 9110 §5.6.7).
pub(crate) fn http_date(time: Timestamp) -> String {
    let since_1970 = Duration::from_millis(time.0.try_into().unwrap_or(0));
    HttpDate::from(SystemTime::UNIX_EPOCH + since_1970).to_string()
}
