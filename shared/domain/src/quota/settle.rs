//! How reservations end, and how the space of purged files is given back: each once.

use super::State;
use crate::limits::RESERVATION_ITEMS_MAX;
use waybill_schema::FileId;
use waybill_schema::events::{QuotaReleasedV2, QuotaSettledV1, ReleasedItem, SettledItem};

/// Settles those of the reservations that are open; no event means that none is. Items beyond [`RESERVATION_ITEMS_MAX`] are
/// a caller's mistake and are not looked at.
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

/// Gives back the space of files that were purged and whose own events do not say yet that it was given back; `recorded` are
/// those whose events do. No event means that all of it was done before. The caller has looked at the files' events after
/// this state was read, and appends behind it: whoever else does the same changes the state first.
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
