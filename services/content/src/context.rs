//! Context of the events that this role appends.

use waybill_repository::Context;
use waybill_schema::{Actor, Causation};
use waybill_service_kit::now;

/// Returns the context of an event that this role appends now because of `causation`.
pub(crate) fn context(causation: Causation) -> Context {
    Context { actor: Actor::Service("content".to_owned()), causation, address: None, clock: now }
}
