//! Commands to a quota.

use super::{LinkLimits, State};
use crate::limits::{Limits, OpenLimits};
use std::collections::BTreeMap;
use waybill_schema::events::{QuotaRecalculated, QuotaUserLimitSet, ReleasedItem, ReservedItem, SettledItem};
use waybill_schema::{FileId, LinkId, Timestamp, UploadId};

/// Command to a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set the storage limit on behalf of the host product. Every such command is recorded.
    SetLimit {
        /// The limit in bytes.
        storage_limit_bytes: u64,
    },
    /// Set a lower storage limit on behalf of an administrator of the company. Every such command is recorded.
    LowerLimit {
        /// The limit in bytes.
        storage_limit_bytes: u64,
        /// Storage limit of a company for which the host product set no limit, in bytes.
        default_limit_bytes: u64,
    },
    /// Set the storage limit, unless a limit was set before.
    SetFirstLimit {
        /// The limit in bytes.
        storage_limit_bytes: u64,
    },
    /// Reserve bytes for uploads that are about to start. If one of them does not fit, nothing is reserved:
    /// [`super::check_each`] returns those that fit.
    Reserve {
        /// The uploads, at most [`RESERVATION_ITEMS_MAX`](crate::limits::RESERVATION_ITEMS_MAX). Others are ignored.
        items: Vec<ReservedItem>,
        /// Time until which the uploads must start.
        until: Timestamp,
        /// The limits.
        terms: Terms,
    },
    /// Raise the reservation of an upload of unknown length.
    Raise {
        /// The upload.
        upload_id: UploadId,
        /// Bytes that the reservation must have at least.
        needed_bytes: u64,
        /// Maximum size of the upload.
        max_bytes: u64,
        /// The limits.
        terms: Terms,
    },
    /// Transfer the reservations of partial uploads to their final upload.
    Transfer {
        /// The final upload.
        item: ReservedItem,
        /// The partial uploads.
        from: Vec<UploadId>,
        /// Time until which the final upload must start.
        until: Timestamp,
        /// The limits.
        terms: Terms,
    },
    /// End the reservations of these uploads that are still open. At most
    /// [`RESERVATION_ITEMS_MAX`](crate::limits::RESERVATION_ITEMS_MAX); others are ignored.
    Settle(Vec<SettledItem>),
    /// Release the bytes of purged files. The events of the files must be read after the state of the quota, and the
    /// event must be appended with the expectation of this state: a concurrent release then causes a conflict.
    Release {
        /// Purged files whose own events do not contain `FileSpaceReleased` yet. At most
        /// [`RESERVATION_ITEMS_MAX`](crate::limits::RESERVATION_ITEMS_MAX); others are ignored.
        purged: Vec<ReleasedItem>,
        /// Files whose own events contain it.
        recorded: Vec<FileId>,
    },
    /// Set the limit of a user, or of all users that have no limit of their own. `None` removes it.
    SetUserLimit(QuotaUserLimitSet),
    /// Record the bytes and the number of the files of the company. Nothing is recorded if they equal the tables and the quota has
    /// changed since they were counted.
    Recalculate(QuotaRecalculated),
}

/// Limits that apply to a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Storage limit of a company for which no limit was set, in bytes.
    pub default_limit_bytes: u64,
    /// Limits on sizes.
    pub limits: Limits,
    /// Limits on open uploads.
    pub open: OpenLimits,
    /// Limits of the upload links with which the files are sent.
    pub links: BTreeMap<LinkId, LinkLimits>,
}

impl Terms {
    /// Returns the storage limit of the company.
    pub(super) fn limit_bytes(&self, state: &State) -> u64 {
        state.limit_bytes.unwrap_or(self.default_limit_bytes)
    }
}
