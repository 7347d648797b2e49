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
    /// Bytes of the verified files of each user who has some.
    pub users: BTreeMap<UserId, u64>,
    /// Limit of the bytes of each user, unless the user has a limit of their own.
    pub user_limit_bytes: Option<u64>,
    /// Limits of single users.
    pub user_limits: BTreeMap<UserId, u64>,
}

impl State {
    /// Returns the limit of the bytes of a user, if there is one.
    pub fn limit_of(&self, user: UserId) -> Option<u64> {
        self.user_limits.get(&user).copied().or(self.user_limit_bytes)
    }

    /// Returns the bytes of the verified files of a user.
    pub fn used_by(&self, user: UserId) -> u64 {
        self.users.get(&user).copied().unwrap_or(0)
    }

    /// Returns the bytes of the open reservations of a user.
    pub fn reserved_by(&self, user: UserId) -> u64 {
        self.reserved.values().filter(|item| item.user_id == Some(user)).map(|item| item.bytes).sum()
    }

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
                let reserved = state.reserved.get(&item.upload_id).copied();
                if take_off(state, item.upload_id, bytes_used) && item.bytes_used.is_some() {
                    state.used_bytes = state.used_bytes.saturating_add(bytes_used);
                    state.file_count += 1;
                    if let Some(user) = reserved.and_then(|reserved| reserved.user_id) {
                        add_of(state, user, bytes_used);
                    }
                    if let Some(ReservedLink { link_id, expires_at }) = reserved.and_then(|reserved| reserved.link) {
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
                    if let Some(user) = item.user_id {
                        take_from(state, user, item.bytes);
                    }
                }
            }
            for file in &released.recorded {
                state.released.remove(file);
            }
        }
        QuotaEvent::QuotaUserLimitSet(set) => match (set.user_id, set.limit_bytes) {
            (None, limit_bytes) => state.user_limit_bytes = limit_bytes,
            (Some(user), Some(limit_bytes)) => drop(state.user_limits.insert(user, limit_bytes)),
            (Some(user), None) => drop(state.user_limits.remove(&user)),
        },
        QuotaEvent::QuotaRecalculated(_) => {}
    }
}

fn add_of(state: &mut State, user: UserId, bytes: u64) {
    if bytes > 0 {
        let used = state.users.entry(user).or_default();
        *used = used.saturating_add(bytes);
    }
}

fn take_from(state: &mut State, user: UserId, bytes: u64) {
    let Some(used) = state.users.get_mut(&user) else { return };
    *used = used.saturating_sub(bytes);
    if *used == 0 {
        state.users.remove(&user);
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
    forget_links(state, time);
    // A session accepts no files after its lifetime, so that its sum is no longer needed.
    state.sessions.retain(|id, _| opened_at(*id).plus_ms(2 * SESSION_LIFETIME_MS) > time);
}

/// Forgets links that have expired. Their open uploads can still grow.
fn forget_links(state: &mut State, time: Timestamp) {
    if state.links.values().all(|sent| sent.expires_at > time) {
        return;
    }
    let open: BTreeSet<LinkId> = state.reserved.values().filter_map(|item| Some(item.link?.link_id)).collect();
    state.links.retain(|link, sent| sent.expires_at > time || open.contains(link));
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
