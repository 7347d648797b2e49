//! What is known of a company's space.

use crate::limits::SESSION_LIFETIME_MS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use waybill_schema::events::{Event, QuotaRaisedV1, QuotaReservedV1, ReleasedFrom};
use waybill_schema::{SessionId, Timestamp, UploadId};

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
}

impl State {
    /// Bytes that running uploads hold.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.values().map(|item| item.bytes).sum()
    }
}

/// Folds one event, recorded at `time`.
pub fn evolve(state: &mut State, event: &Event, time: Timestamp) {
    match event {
        Event::QuotaLimitSet(set) => state.limit_bytes = Some(set.storage_limit_bytes),
        Event::QuotaReserved(reserved) => reserve(state, reserved, time),
        Event::QuotaRaised(raised) => raise(state, raised),
        Event::QuotaTransferred(transferred) => {
            for partial in &transferred.from {
                take_off(state, *partial, 0);
            }
            let items = vec![transferred.item.clone()];
            reserve(state, &QuotaReservedV1 { items, until: transferred.until }, time);
        }
        Event::QuotaCommitted(committed) => {
            take_off(state, committed.upload_id, committed.bytes_used);
            state.used_bytes = state.used_bytes.saturating_add(committed.bytes_used);
            state.file_count += 1;
        }
        Event::QuotaReleased(released) => match released.from {
            ReleasedFrom::Reserved => take_off(state, released.upload_id, 0),
            ReleasedFrom::Used => {
                state.used_bytes = state.used_bytes.saturating_sub(released.bytes);
                state.file_count = state.file_count.saturating_sub(1);
            }
        },
        _ => {}
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

/// Ends a reservation. Its session keeps the bytes that are used of it. What it holds, not what an event says of it,
/// counts: it may have been raised a moment ago.
fn take_off(state: &mut State, upload: UploadId, bytes_used: u64) {
    let Some(reserved) = state.reserved.remove(&upload) else { return };
    if let Some(total) = reserved.session_id.and_then(|id| state.sessions.get_mut(&id)) {
        *total = total.saturating_sub(reserved.bytes.saturating_sub(bytes_used));
    }
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
