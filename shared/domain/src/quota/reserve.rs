//! Reservation of bytes for uploads that are about to start.

use super::links::SentByLinks;
use super::open::Open;
use super::{State, Terms};
use crate::Refusal;
use crate::limits::{Limits, RESERVATION_ITEMS_MAX};
use std::collections::BTreeMap;
use waybill_schema::events::{QuotaEvent, QuotaReserved, ReservedItem};
use waybill_schema::{SessionId, Timestamp};

/// Answers about several uploads that are about to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// One answer per item, in order.
    pub answers: Vec<Result<(), Refusal>>,
    /// The accepted items that have no reservation yet.
    pub items: Vec<ReservedItem>,
}

/// Checks each item separately and in order: an item that does not fit does not prevent a smaller item after it from
/// fitting. Ignores items beyond [`RESERVATION_ITEMS_MAX`], which callers must not pass.
pub fn check_each(state: &State, items: &[ReservedItem], terms: &Terms) -> Reservation {
    let mut accepted: Vec<ReservedItem> = Vec::new();
    let mut reserved_bytes = state.reserved_bytes();
    let mut sessions: BTreeMap<SessionId, u64> = BTreeMap::new();
    let mut open = Open::count(state, items.iter(), |_| false);
    let mut sent = SentByLinks::count(state, items.iter().filter_map(|item| Some(item.link?.link_id)), |_| false);
    let answers = items
        .iter()
        .take(RESERVATION_ITEMS_MAX)
        .map(|item| {
            let known = state.reserved.contains_key(&item.upload_id);
            if known || accepted.iter().any(|other| other.upload_id == item.upload_id) {
                return Ok(());
            }
            check_company(state, reserved_bytes, item, terms)?;
            open.check(state, item, terms)?;
            sent.check(item, &terms.links)?;
            if let Some(session_id) = item.session_id {
                let before = state.sessions.get(&session_id).copied().unwrap_or_default();
                let total = sessions.entry(session_id).or_insert(before);
                *total = check_session(*total, item, &terms.limits)?;
            }
            reserved_bytes = reserved_bytes.saturating_add(item.bytes_total);
            open.add(item);
            sent.add(item);
            accepted.push(item.clone());
            Ok(())
        })
        .collect();
    Reservation { answers, items: accepted }
}

/// Reserves bytes for all items that have no reservation yet. Returns no event if all of them have one.
///
/// # Errors
/// The first refusal if an item does not fit.
pub(super) fn reserve(
    state: &State,
    items: &[ReservedItem],
    until: Timestamp,
    terms: &Terms,
) -> Result<Option<QuotaEvent>, Refusal> {
    let Reservation { answers, items } = check_each(state, items, terms);
    answers.into_iter().collect::<Result<(), Refusal>>()?;
    Ok((!items.is_empty()).then(|| QuotaReserved { items, until }.into()))
}

pub(super) fn check_company(
    state: &State,
    reserved_bytes: u64,
    item: &ReservedItem,
    terms: &Terms,
) -> Result<(), Refusal> {
    let limit_bytes = terms.limit_bytes(state);
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
