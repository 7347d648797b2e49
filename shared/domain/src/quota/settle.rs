//! How the reservation of one upload ends: committed or released, once.

use waybill_schema::events::{Event, QuotaCommittedV1, QuotaReleasedV1, ReleasedFrom};
use waybill_schema::{SessionId, UploadId};

/// What `….quota.{upload_id}` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing yet.
    #[default]
    Open,
    /// The space is used.
    Committed,
    /// The space was given back.
    Released,
}

impl Settlement {
    /// Folds one event.
    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::QuotaCommitted(_) => *self = Self::Committed,
            Event::QuotaReleased(_) => *self = Self::Released,
            _ => {}
        }
    }
}

/// Which end a reservation is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// The file is verified.
    Commit,
    /// The upload came to nothing.
    Release,
    /// The file was purged.
    Purge,
}

/// The space that a settlement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that were reserved.
    pub reserved_bytes: u64,
    /// Bytes that the file takes.
    pub used_bytes: u64,
}

impl Space {
    /// Of an upload whose length was known from the start.
    pub fn exactly(bytes: u64) -> Self {
        Self { reserved_bytes: bytes, used_bytes: bytes }
    }
}

/// Decides; no event means that it was settled before.
pub fn settle(
    settlement: Settlement,
    settling: Settling,
    upload_id: UploadId,
    session_id: Option<SessionId>,
    space: Space,
) -> Option<Event> {
    let Space { reserved_bytes, used_bytes } = space;
    let released = |from, bytes| Some(QuotaReleasedV1 { upload_id, session_id, bytes, from }.into());
    match (settlement, settling) {
        (Settlement::Open, Settling::Commit) => {
            Some(QuotaCommittedV1 { upload_id, bytes_reserved: reserved_bytes, bytes_used: used_bytes }.into())
        }
        (Settlement::Open, Settling::Release) => released(ReleasedFrom::Reserved, reserved_bytes),
        (Settlement::Committed, Settling::Purge) => released(ReleasedFrom::Used, used_bytes),
        _ => None,
    }
}
