//! The shelf of the data that decide access.

use std::sync::Arc;
use waybill_read_cache::{ReadCache, Shelf};
use waybill_read_model::queries::AccessRows;

pub(crate) fn shelf(cache: Arc<ReadCache>) -> Shelf<AccessRows> {
    let decode = |bytes: &[u8]| AccessRows::parse(std::str::from_utf8(bytes).ok()?).ok();
    Shelf::new(cache, "access", decode)
}
