//! What is known of a company's space.

use crate::limits::SESSION_LIFETIME_MS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{QuotaEvent, QuotaRaisedV1, QuotaReservedV1};
use waybill_schema::{FileId, SessionId, Timestamp, UploadId};

/// One open reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Bytes.
    pub bytes: u64,
    /// The session whose limit it counts towards.
    pub session_id: Option<SessionId>,
    /// Until when the upload must have started.
    pub until: Timestamp,
}

/// A company's space, folded from its events. Bounded by running uploads and by sessions of the last days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Bytes; `None` until a limit was set.
    pub limit_bytes: Option<u64>,
    /// Bytes of verified files.
    pub used_bytes: u64,
    /// Verified files.
    pub file_count: u64,
    /// Reservations that were not settled yet.
    pub reserved: BTreeMap<UploadId, Reserved>,
    /// Bytes of all files, running or done, of each session.
    pub sessions: BTreeMap<SessionId, u64>,
    /// Purged files whose space was given back, and whose own events do not say so yet, as far as is known here.
    pub released: BTreeSet<FileId>,
}

impl State {
    /// Bytes that running uploads hold.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.values().map(|item| item.bytes).sum()
    }
}

/// Folds one event, recorded at `time`.
pub fn evolve(state: &mut State, event: &QuotaEvent, time: Timestamp) {
    match event {
        QuotaEvent::QuotaLimitSet(set) => state.limit_bytes = Some(set.storage_limit_bytes),
        QuotaEvent::QuotaReserved(reserved) => reserve(state, reserved, time),
        QuotaEvent::QuotaRaised(raised) => raise(state, raised),
        QuotaEvent::QuotaTransferred(transferred) => {
            for partial in &transferred.from {
                take_off(state, *partial, 0);
            }
            let items = vec![transferred.item.clone()];
            reserve(state, &QuotaReservedV1 { items, until: transferred.until }, time);
        }
        QuotaEvent::QuotaSettled(settled) => {
            for item in &settled.items {
                let bytes_used = item.bytes_used.unwrap_or(0);
                if take_off(state, item.upload_id, bytes_used) && item.bytes_used.is_some() {
                    state.used_bytes = state.used_bytes.saturating_add(bytes_used);
                    state.file_count += 1;
                }
            }
        }
        QuotaEvent::QuotaReleased(released) => {
            for item in &released.items {
                // One that was not settled yet is settled by this.
                if state.released.insert(item.file_id) && !take_off(state, item.file_id, 0) {
                    state.used_bytes = state.used_bytes.saturating_sub(item.bytes);
                    state.file_count = state.file_count.saturating_sub(1);
                }
            }
            for file in &released.recorded {
                state.released.remove(file);
            }
        }
        QuotaEvent::QuotaRecalculated(_) => {}
    }
}

fn reserve(state: &mut State, event: &QuotaReservedV1, time: Timestamp) {
    for item in &event.items {
        let reserved = Reserved { bytes: item.bytes_total, session_id: item.session_id, until: event.until };
        state.reserved.insert(item.upload_id, reserved);
        if let Some(session_id) = item.session_id {
            let total = state.sessions.entry(session_id).or_default();
            *total = total.saturating_add(item.bytes_total);
        }
    }
    // A session takes no file after its lifetime, so its sum is needed no longer.
    state.sessions.retain(|id, _| opened_at(*id).plus_ms(2 * SESSION_LIFETIME_MS) > time);
}

/// Ends a reservation, if it is open. Its session keeps the bytes that are used of it. What it holds, not what an event says
/// of it, counts: it may have been raised a moment ago.
fn take_off(state: &mut State, upload: UploadId, bytes_used: u64) -> bool {
    let Some(reserved) = state.reserved.remove(&upload) else { return false };
    if let Some(total) = reserved.session_id.and_then(|id| state.sessions.get_mut(&id)) {
        *total = total.saturating_sub(reserved.bytes.saturating_sub(bytes_used));
    }
    true
}

fn raise(state: &mut State, raised: &QuotaRaisedV1) {
    let Some(reserved) = state.reserved.get_mut(&raised.upload_id) else { return };
    let before = std::mem::replace(&mut reserved.bytes, raised.bytes_total);
    if let Some(total) = reserved.session_id.and_then(|id| state.sessions.get_mut(&id)) {
        *total = total.saturating_sub(before).saturating_add(raised.bytes_total);
    }
}

/// A UUIDv7 begins with the milliseconds of its making (RFC 9562 §5.7).
fn opened_at(session: SessionId) -> Timestamp {
    Timestamp(i64::try_from(session.0.as_u128() >> 80).unwrap_or(i64::MAX))
}
