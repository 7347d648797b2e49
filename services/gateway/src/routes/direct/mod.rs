//! Direct uploads: the client sends the bytes to the object store through presigned URLs, not through Waybill.
//! [`native`] is Waybill's own protocol; [`uppy`] is the protocol of Uppy's S3 plugin.

pub(crate) mod native;
pub(crate) mod uppy;

use std::time::Duration;
use waybill_schema::Timestamp;
use waybill_service_kit::now;

/// Returns the time at which a URL that is signed now expires.
fn end_of(lifetime: Duration) -> Timestamp {
    now().plus_ms(i64::try_from(lifetime.as_millis()).unwrap_or(0))
}
