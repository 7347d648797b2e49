//! The system clock. Domain rules take times as arguments; services get these times here.

use std::time::{SystemTime, UNIX_EPOCH};
use waybill_schema::Timestamp;

/// Returns the current time of the system clock, or the start of 1970 if the clock is set to an earlier time.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
