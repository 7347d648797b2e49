//! State of the quota of a company.

use super::sent::Sent;
use crate::limits::SESSION_LIFETIME_MS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use waybill_schema::events::{QuotaEvent, QuotaRaised, QuotaReserved, ReservedLink};
use waybill_schema::{FileId, LinkId, SessionId, Timestamp, UploadId, UserId};

/// Open reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Reserved bytes.
    pub bytes: u64,
    /// The session. The reservation counts towards its limit.
    pub session_id: Option<SessionId>,
    /// Time until which the upload must have started.
    pub until: Timestamp,
    /// The user. `None` if an earlier version reserved the bytes.
    pub user_id: Option<UserId>,
    /// The upload link with which the file is sent.
    pub link: Option<ReservedLink>,
}

/// Quota of a company, folded from its events. Its size is bounded by the open uploads and the recent sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The limit in bytes. `None` until a limit is set.
    pub limit_bytes: Option<u64>,
    /// The limit that the host product set, which administrators of the company can only lower.
    pub limit_of_host_bytes: Option<u64>,
    /// Bytes of verified files.
    pub used_bytes: u64,
    /// Number of verified files.
    pub file_count: u64,
    /// Open reservations.
    pub reserved: BTreeMap<UploadId, Reserved>,
    /// Bytes of each session: of its open uploads and its files.
    pub sessions: BTreeMap<SessionId, u64>,
    /// Purged files whose bytes were released, and whose own events may not contain `FileSpaceReleased` yet.
    pub released: BTreeSet<FileId>,
    /// Files that were sent with each upload link that has not expired.
    pub links: BTreeMap<LinkId, Sent>,
}

impl State {
    /// Returns the bytes of all open reservations.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.values().map(|item| item.bytes).sum()
    }
}

/// Applies one event, recorded at `time`, to the state.
pub fn evolve(state: &mut State, event: &QuotaEvent, time: Timestamp) {
    match event {
        QuotaEvent::QuotaLimitSet(set) => {
            state.limit_bytes = Some(set.storage_limit_bytes);
            if set.is_of_host {
                state.limit_of_host_bytes = state.limit_bytes;
            }
        }
        QuotaEvent::QuotaReserved(reserved) => reserve(state, reserved, time),
        QuotaEvent::QuotaRaised(raised) => raise(state, raised),
        QuotaEvent::QuotaTransferred(transferred) => {
            for partial in &transferred.from {
                take_off(state, *partial, 0);
            }
            let items = vec![transferred.item.clone()];
            reserve(state, &QuotaReserved { items, until: transferred.until }, time);
        }
        QuotaEvent::QuotaSettled(settled) => {
            for item in &settled.items {
                let bytes_used = item.bytes_used.unwrap_or(0);
                let link = state.reserved.get(&item.upload_id).and_then(|reserved| reserved.link);
                if take_off(state, item.upload_id, bytes_used) && item.bytes_used.is_some() {
                    state.used_bytes = state.used_bytes.saturating_add(bytes_used);
                    state.file_count += 1;
                    if let Some(ReservedLink { link_id, expires_at }) = link {
                        state.links.entry(link_id).or_insert(Sent { expires_at, ..Sent::default() }).add(bytes_used);
                    }
                }
            }
        }
        QuotaEvent::QuotaReleased(released) => {
            for item in &released.items {
                // If the reservation of the file is still open, the release ends it.
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

fn reserve(state: &mut State, event: &QuotaReserved, time: Timestamp) {
    for item in &event.items {
        let reserved = Reserved {
            bytes: item.bytes_total,
            session_id: item.session_id,
            until: event.until,
            user_id: item.user_id,
            link: item.link,
        };
        state.reserved.insert(item.upload_id, reserved);
        if let Some(session_id) = item.session_id {
            let total = state.sessions.entry(session_id).or_default();
            *total = total.saturating_add(item.bytes_total);
        }
    }
    state.links.retain(|_, sent| sent.expires_at > time);
    // A session accepts no files after its lifetime, so that its sum is no longer needed.
    state.sessions.retain(|id, _| opened_at(*id).plus_ms(2 * SESSION_LIFETIME_MS) > time);
}

/// Ends a reservation if it is open. The used bytes still count for its session. The current size of the reservation
/// counts and not the size in an event, because the reservation may have been raised in the meantime.
fn take_off(state: &mut State, upload: UploadId, bytes_used: u64) -> bool {
    let Some(reserved) = state.reserved.remove(&upload) else { return false };
    if let Some(total) = reserved.session_id.and_then(|id| state.sessions.get_mut(&id)) {
        *total = total.saturating_sub(reserved.bytes.saturating_sub(bytes_used));
    }
    true
}

fn raise(state: &mut State, raised: &QuotaRaised) {
    let Some(reserved) = state.reserved.get_mut(&raised.upload_id) else { return };
    let before = std::mem::replace(&mut reserved.bytes, raised.bytes_total);
    if let Some(total) = reserved.session_id.and_then(|id| state.sessions.get_mut(&id)) {
        *total = total.saturating_sub(before).saturating_add(raised.bytes_total);
    }
}

/// Returns the time at which the session was opened. A UUIDv7 begins with its creation time in milliseconds (RFC 9562
/// §5.7).
fn opened_at(session: SessionId) -> Timestamp {
    Timestamp(i64::try_from(session.0.as_u128() >> 80).unwrap_or(i64::MAX))
}
