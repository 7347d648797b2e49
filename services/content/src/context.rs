//! Context of the events that this role appends, and the time for its queries.

use chrono::{DateTime, Utc};
use waybill_repository::Context;
use waybill_schema::{Actor, Causation};
use waybill_service_kit::now;

/// Returns the context of an event that this role appends now because of `causation`.
pub(crate) fn context(causation: Causation) -> Context {
    Context { actor: Actor::Service("content".to_owned()), causation, address: None, clock: now }
}

/// Returns the present time, as the tables have times.
pub(crate) fn utc_now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(now().0).unwrap_or_default()
}
