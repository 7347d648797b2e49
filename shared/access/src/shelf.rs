//! The shelf of the data that decide access.

use std::sync::Arc;
use waybill_read_cache::{ReadCache, Shelf};
use waybill_read_model::queries::AccessRows;

/// Size of the data in the process in bytes of their text.
const NEAR_BYTES: u64 = 16 * 1_024 * 1_024;

pub(crate) fn shelf(cache: Arc<ReadCache>) -> Shelf<AccessRows> {
    let decode = |bytes: &[u8]| AccessRows::parse(std::str::from_utf8(bytes).ok()?).ok();
    Shelf::new(cache, "access", NEAR_BYTES, decode)
}
