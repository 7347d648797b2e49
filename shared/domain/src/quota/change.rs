//! Reservations that change while their upload runs.

use super::reserve::{check_company, check_session};
use super::{Reserved, State};
use crate::Refusal;
use crate::limits::{Limits, RESERVATION_STEP_BYTES};
use std::collections::BTreeSet;
use waybill_schema::events::{QuotaEvent, QuotaRaisedV1, QuotaTransferredV1, ReservedItem};
use waybill_schema::{Timestamp, UploadId};

/// Raises the reservation of an upload whose length is not known, so that it holds `needed_bytes`: in steps of
/// [`RESERVATION_STEP_BYTES`] where they fit, and to no more than `max_bytes`. No event means that it holds them already.
///
/// # Errors
/// [`Refusal::NotFound`] where the upload has no open reservation; [`Refusal::QuotaExceeded`],
/// [`Refusal::SessionTooLarge`].
pub fn raise(
    state: &State,
    upload_id: UploadId,
    needed_bytes: u64,
    max_bytes: u64,
    limit_bytes: u64,
    limits: &Limits,
) -> Result<Option<QuotaEvent>, Refusal> {
    let reserved = state.reserved.get(&upload_id).ok_or(Refusal::NotFound { what: "upload" })?;
    if needed_bytes <= reserved.bytes {
        return Ok(None);
    }
    let check = |bytes_total: u64| {
        let more = ReservedItem {
            upload_id,
            session_id: reserved.session_id,
            bytes_total: bytes_total.saturating_sub(reserved.bytes),
        };
        check_company(state, state.reserved_bytes(), &more, limit_bytes)?;
        match more.session_id.and_then(|id| state.sessions.get(&id)) {
            Some(total) => check_session(*total, &more, limits).map(drop),
            None => Ok(()),
        }
    };
    let step = needed_bytes.next_multiple_of(RESERVATION_STEP_BYTES).min(max_bytes.max(needed_bytes));
    // The last of the space is given out to the byte.
    let bytes_total = if check(step).is_ok() { step } else { needed_bytes };
    check(bytes_total)?;
    Ok(Some(QuotaRaisedV1 { upload_id, bytes_total }.into()))
}

/// Gives the reservations of the partial uploads `from` to the final upload of `item`. All of it must fit into the limit. No event means that it was done before.
///
/// # Errors
/// [`Refusal::QuotaExceeded`], [`Refusal::SessionTooLarge`].
pub fn transfer(
    state: &State,
    item: &ReservedItem,
    from: &[UploadId],
    limit_bytes: u64,
    limits: &Limits,
    until: Timestamp,
) -> Result<Option<QuotaEvent>, Refusal> {
    if state.reserved.contains_key(&item.upload_id) {
        return Ok(None);
    }
    // One that comes twice holds its space once.
    let from: BTreeSet<UploadId> = from.iter().copied().collect();
    let freed: u64 = from.iter().filter_map(|partial| state.reserved.get(partial)).map(|reserved| reserved.bytes).sum();
    // Also where nothing more is asked for: a partial upload that ended a moment ago may be known here as if it had not.
    check_company(state, state.reserved_bytes().saturating_sub(freed), item, limit_bytes)?;
    if let Some(session_id) = item.session_id {
        let of_session = |reserved: &&Reserved| reserved.session_id == Some(session_id);
        let held: u64 =
            from.iter().filter_map(|partial| state.reserved.get(partial)).filter(of_session).map(|it| it.bytes).sum();
        let total = state.sessions.get(&session_id).copied().unwrap_or_default();
        check_session(total.saturating_sub(held), item, limits)?;
    }
    Ok(Some(QuotaTransferredV1 { item: item.clone(), from: from.into_iter().collect(), until }.into()))
}
