//! The clock. Rules get times as arguments; here is where those come from.

use std::time::{SystemTime, UNIX_EPOCH};
use waybill_schema::Timestamp;

/// The time now, by the machine's clock; 1970 where the clock stands before it.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
