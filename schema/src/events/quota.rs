//! Events of a company's storage quota: `quota` and `quota.{upload_id}`.

use crate::{SessionId, Timestamp, UploadId};
use serde::{Deserialize, Serialize};

/// The company's limit is this from now on. May be below what is used: then nothing new starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaLimitSetV1 {
    /// Bytes.
    pub storage_limit_bytes: u64,
}

/// The space of one upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedItem {
    /// Whose.
    pub upload_id: UploadId,
    /// The session whose limit it counts towards.
    pub session_id: Option<SessionId>,
    /// Bytes.
    pub bytes_total: u64,
}

/// Space was set aside for uploads that are about to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReservedV1 {
    /// One entry an upload; 64 at most.
    pub items: Vec<ReservedItem>,
    /// Until when `UploadStarted` must have followed; afterwards the sweep takes the space back.
    pub until: Timestamp,
}

/// The reservation of a running upload is this large from now on: of one whose length is not known yet. Of an upload
/// without an open reservation it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRaisedV1 {
    /// Whose.
    pub upload_id: UploadId,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// A final upload took over the reservations of its partial uploads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTransferredV1 {
    /// The reservation of the final upload.
    pub item: ReservedItem,
    /// The partial uploads whose reservations end with this; those that had none have none.
    pub from: Vec<UploadId>,
    /// Until when `UploadStarted` must have followed; afterwards the sweep takes the space back.
    pub until: Timestamp,
}

/// A reservation became used space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaCommittedV1 {
    /// Whose.
    pub upload_id: UploadId,
    /// Bytes that were reserved.
    pub bytes_reserved: u64,
    /// Bytes that are used now.
    pub bytes_used: u64,
}

/// What a release gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleasedFrom {
    /// A reservation: the upload came to nothing.
    Reserved,
    /// Used space: the file was purged.
    Used,
}

/// Space was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReleasedV1 {
    /// Whose.
    pub upload_id: UploadId,
    /// The session whose limit it counted towards.
    pub session_id: Option<SessionId>,
    /// Bytes.
    pub bytes: u64,
    /// Which sum it is taken from.
    pub from: ReleasedFrom,
}

/// The company's space was counted anew from its files' events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRecalculatedV1 {
    /// Bytes of all files that are there.
    pub storage_used_bytes: u64,
    /// How many those are.
    pub file_count: u64,
    /// How many bytes more (or fewer) had been accounted for.
    pub drift_bytes: i64,
    /// How many files more (or fewer).
    pub drift_files: i64,
}
