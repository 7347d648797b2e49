//! Reservation of bytes for uploads that are about to start.

use super::State;
use crate::Refusal;
use crate::limits::{Limits, RESERVATION_ITEMS_MAX};
use std::collections::BTreeMap;
use waybill_schema::events::{QuotaReservedV1, ReservedItem};
use waybill_schema::{SessionId, Timestamp};

/// Result of reserving bytes for several uploads in one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// One answer per item, in order.
    pub answers: Vec<Result<(), Refusal>>,
    /// The event with all accepted items that had no reservation before.
    pub event: Option<QuotaReservedV1>,
}

/// Decides on each item separately and in order: an item that does not fit does not prevent a smaller item after it
/// from fitting. Ignores items beyond [`RESERVATION_ITEMS_MAX`], which callers must not pass.
pub fn reserve(
    state: &State,
    items: &[ReservedItem],
    limit_bytes: u64,
    limits: &Limits,
    until: Timestamp,
) -> Reservation {
    let mut accepted: Vec<ReservedItem> = Vec::new();
    let mut reserved_bytes = state.reserved_bytes();
    let mut sessions: BTreeMap<SessionId, u64> = BTreeMap::new();
    let answers = items
        .iter()
        .take(RESERVATION_ITEMS_MAX)
        .map(|item| {
            let known = state.reserved.contains_key(&item.upload_id);
            if known || accepted.iter().any(|other| other.upload_id == item.upload_id) {
                return Ok(());
            }
            check_company(state, reserved_bytes, item, limit_bytes)?;
            if let Some(session_id) = item.session_id {
                let before = state.sessions.get(&session_id).copied().unwrap_or_default();
                let total = sessions.entry(session_id).or_insert(before);
                *total = check_session(*total, item, limits)?;
            }
            reserved_bytes = reserved_bytes.saturating_add(item.bytes_total);
            accepted.push(item.clone());
            Ok(())
        })
        .collect();
    let event = (!accepted.is_empty()).then_some(QuotaReservedV1 { items: accepted, until });
    Reservation { answers, event }
}

pub(super) fn check_company(
    state: &State,
    reserved_bytes: u64,
    item: &ReservedItem,
    limit_bytes: u64,
) -> Result<(), Refusal> {
    let total = state.used_bytes.saturating_add(reserved_bytes).saturating_add(item.bytes_total);
    // Check also requests for 0 bytes. Otherwise a company above its (lowered) limit could start any number of empty
    // files.
    if total > limit_bytes {
        return Err(Refusal::QuotaExceeded {
            requested_bytes: item.bytes_total,
            used_bytes: state.used_bytes,
            reserved_bytes,
            limit_bytes,
        });
    }
    Ok(())
}

pub(super) fn check_session(total: u64, item: &ReservedItem, limits: &Limits) -> Result<u64, Refusal> {
    let total_bytes = total.saturating_add(item.bytes_total);
    if total_bytes > limits.max_session_bytes {
        return Err(Refusal::SessionTooLarge { total_bytes, limit_bytes: limits.max_session_bytes });
    }
    Ok(total_bytes)
}
