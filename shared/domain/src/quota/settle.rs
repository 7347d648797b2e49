//! End of reservations, and release of the bytes of purged files. Each happens once.

use super::State;
use crate::limits::RESERVATION_ITEMS_MAX;
use waybill_schema::FileId;
use waybill_schema::events::{QuotaReleasedV2, QuotaSettledV1, ReleasedItem, SettledItem};

/// Settles the reservations that are open. Returns no event if no reservation is open. Ignores items beyond
/// [`RESERVATION_ITEMS_MAX`], which callers must not pass.
pub fn settle(state: &State, ended: &[SettledItem]) -> Option<QuotaSettledV1> {
    let mut items: Vec<SettledItem> = Vec::new();
    for item in ended.iter().take(RESERVATION_ITEMS_MAX) {
        let is_new = items.iter().all(|other| other.upload_id != item.upload_id);
        if is_new && state.reserved.contains_key(&item.upload_id) {
            items.push(item.clone());
        }
    }
    (!items.is_empty()).then_some(QuotaSettledV1 { items })
}

/// Releases the bytes of purged files. `purged` are the files whose own events do not contain `FileSpaceReleased` yet,
/// and `recorded` the files whose events do. Returns no event if there is nothing left to do. The caller must read the
/// events of the files after this state, and must append the event with the expectation of this state: a concurrent
/// release then causes a conflict.
pub fn release(state: &State, purged: &[ReleasedItem], recorded: &[FileId]) -> Option<QuotaReleasedV2> {
    let mut items: Vec<ReleasedItem> = Vec::new();
    for item in purged.iter().take(RESERVATION_ITEMS_MAX) {
        let is_new = items.iter().all(|other| other.file_id != item.file_id);
        if is_new && !state.released.contains(&item.file_id) {
            items.push(item.clone());
        }
    }
    let recorded: Vec<FileId> = recorded.iter().filter(|file| state.released.contains(file)).copied().collect();
    (!items.is_empty() || !recorded.is_empty()).then_some(QuotaReleasedV2 { items, recorded })
}
