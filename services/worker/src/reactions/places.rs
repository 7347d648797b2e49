//! Places for reactions that read or write large objects.

use super::ReactionError;
use std::sync::Arc;
use waybill_schema::CompanyId;
use waybill_service_kit::places::{Place, Places};

/// Maximum number of a worker's reactions that read or write large objects. Other reactions never wait for them.
pub(crate) const LONG: usize = 32;
/// Number of bytes from which an object counts as large.
const LONG_BYTES: u64 = 8 * 1_024 * 1_024;

/// Takes a place for a reaction that reads or copies `bytes`. Small amounts need no place.
///
/// # Errors
/// [`ReactionError::NoPlace`].
pub(super) fn take_for(places: &Arc<Places>, company: CompanyId, bytes: u64) -> Result<Option<Place>, ReactionError> {
    if bytes < LONG_BYTES {
        return Ok(None);
    }
    places.take(company).map(Some).ok_or(ReactionError::NoPlace)
}
