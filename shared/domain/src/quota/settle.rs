//! End of reservations, and release of the bytes of purged files. Each happens once.

use super::State;
use crate::limits::RESERVATION_ITEMS_MAX;
use waybill_schema::FileId;
use waybill_schema::events::{QuotaEvent, QuotaRecalculated, QuotaReleased, QuotaSettled, ReleasedItem, SettledItem};

/// Settles the reservations that are open. Returns no event if no reservation is open.
pub(super) fn settle(state: &State, ended: Vec<SettledItem>) -> Option<QuotaEvent> {
    let mut items: Vec<SettledItem> = Vec::new();
    for item in ended.into_iter().take(RESERVATION_ITEMS_MAX) {
        let is_new = items.iter().all(|other| other.upload_id != item.upload_id);
        if is_new && state.reserved.contains_key(&item.upload_id) {
            items.push(item);
        }
    }
    (!items.is_empty()).then(|| QuotaSettled { items }.into())
}

/// Releases the bytes of purged files. Returns no event if there is nothing left to do.
pub(super) fn release(state: &State, purged: Vec<ReleasedItem>, recorded: Vec<FileId>) -> Option<QuotaEvent> {
    let mut items: Vec<ReleasedItem> = Vec::new();
    for item in purged.into_iter().take(RESERVATION_ITEMS_MAX) {
        let is_new = items.iter().all(|other| other.file_id != item.file_id);
        if is_new && !state.released.contains(&item.file_id) {
            items.push(item);
        }
    }
    let recorded: Vec<FileId> = recorded.into_iter().filter(|file| state.released.contains(file)).collect();
    (!items.is_empty() || !recorded.is_empty()).then(|| QuotaReleased { items, recorded }.into())
}

/// Returns `true` if the bytes and files were counted for this state, or differ from the tables. Otherwise, a settlement came in the
/// meantime, which would not be counted before the next change.
pub(super) fn is_of(state: &State, found: &QuotaRecalculated) -> bool {
    let has_drift = found.drift_bytes != 0 || found.drift_files != 0;
    has_drift || (found.storage_used_bytes, found.file_count) == (state.used_bytes, state.file_count)
}
