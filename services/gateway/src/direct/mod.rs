//! Bytes that go from the client to the object store by presigned URLs, and never through Waybill: natively part by part
//! ([`native`]), and in the way that Uppy's S3 plugin knows ([`uppy`]).

pub(crate) mod native;
pub(crate) mod uppy;

use std::time::Duration;
use waybill_schema::Timestamp;
use waybill_service_kit::now;

/// When a URL that is signed now for so long ends.
fn end_of(lifetime: Duration) -> Timestamp {
    now().plus_ms(i64::try_from(lifetime.as_millis()).unwrap_or(0))
}
