//! Changes of the reservations of open uploads.

use super::links::SentByLinks;
use super::open::Open;
use super::reserve::{check_company, check_session};
use super::{Reserved, State, Terms};
use crate::Refusal;
use crate::limits::RESERVATION_STEP_BYTES;
use std::collections::BTreeSet;
use waybill_schema::events::{QuotaEvent, QuotaRaised, QuotaTransferred, ReservedItem};
use waybill_schema::{Timestamp, UploadId};

/// Raises the reservation of an upload of unknown length to at least `needed_bytes`. The new size is a multiple of
/// [`RESERVATION_STEP_BYTES`] if the limits allow it, and at most `max_bytes`. Returns no event if the reservation is
/// already large enough.
///
/// # Errors
/// [`Refusal::NotFound`] if the upload has no open reservation, [`Refusal::QuotaExceeded`],
/// [`Refusal::SessionTooLarge`], [`Refusal::UserSpaceExceeded`], [`Refusal::LinkExhausted`].
pub(super) fn raise(
    state: &State,
    upload_id: UploadId,
    needed_bytes: u64,
    max_bytes: u64,
    terms: &Terms,
) -> Result<Option<QuotaEvent>, Refusal> {
    let reserved = state.reserved.get(&upload_id).ok_or(Refusal::NotFound { what: "upload" })?;
    if needed_bytes <= reserved.bytes {
        return Ok(None);
    }
    let (session_id, user_id, link) = (reserved.session_id, reserved.user_id, reserved.link);
    let item = ReservedItem { upload_id, session_id, bytes_total: 0, user_id, link };
    let open = Open::count(state, [&item].into_iter(), |upload| *upload == upload_id);
    let sent = SentByLinks::count(state, link.map(|link| link.link_id).into_iter(), |upload| *upload == upload_id);
    let check = |bytes_total: u64| {
        let whole = ReservedItem { bytes_total, ..item.clone() };
        let more = ReservedItem { bytes_total: bytes_total.saturating_sub(reserved.bytes), ..whole.clone() };
        check_company(state, state.reserved_bytes(), &more, terms)?;
        open.check(state, &whole, terms)?;
        sent.check(&whole, &terms.links)?;
        match more.session_id.and_then(|id| state.sessions.get(&id)) {
            Some(total) => check_session(*total, &more, &terms.limits).map(drop),
            None => Ok(()),
        }
    };
    let step = needed_bytes.next_multiple_of(RESERVATION_STEP_BYTES).min(max_bytes.max(needed_bytes));
    // If a whole step does not fit, reserve exactly the needed bytes.
    let bytes_total = if check(step).is_ok() { step } else { needed_bytes };
    check(bytes_total)?;
    Ok(Some(QuotaRaised { upload_id, bytes_total }.into()))
}

/// Transfers the reservations of the partial uploads `from` to the final upload of `item`. The total must be within the
/// limits. Returns no event if the final upload already has a reservation.
///
/// # Errors
/// [`Refusal::QuotaExceeded`], [`Refusal::SessionTooLarge`], [`Refusal::UserSpaceExceeded`].
pub(super) fn transfer(
    state: &State,
    item: ReservedItem,
    from: Vec<UploadId>,
    until: Timestamp,
    terms: &Terms,
) -> Result<Option<QuotaEvent>, Refusal> {
    if state.reserved.contains_key(&item.upload_id) {
        return Ok(None);
    }
    // A partial upload that is named twice has only one reservation.
    let from: BTreeSet<UploadId> = from.into_iter().collect();
    let freed: u64 = from.iter().filter_map(|partial| state.reserved.get(partial)).map(|reserved| reserved.bytes).sum();
    Open::count(state, [&item].into_iter(), |upload| from.contains(upload)).check(state, &item, terms)?;
    let link = item.link.map(|link| link.link_id);
    SentByLinks::count(state, link.into_iter(), |upload| from.contains(upload)).check(&item, &terms.links)?;
    // Check even if no more bytes are requested: the reservation of a partial upload may have ended recently.
    check_company(state, state.reserved_bytes().saturating_sub(freed), &item, terms)?;
    if let Some(session_id) = item.session_id {
        let of_session = |reserved: &&Reserved| reserved.session_id == Some(session_id);
        let held: u64 =
            from.iter().filter_map(|partial| state.reserved.get(partial)).filter(of_session).map(|it| it.bytes).sum();
        let total = state.sessions.get(&session_id).copied().unwrap_or_default();
        check_session(total.saturating_sub(held), &item, &terms.limits)?;
    }
    Ok(Some(QuotaTransferred { item, from: from.into_iter().collect(), until }.into()))
}
