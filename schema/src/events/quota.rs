//! Events of a company's storage quota: `quota`.

use crate::{FileId, SessionId, Timestamp, UploadId};
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

/// How the reservation of one upload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledItem {
    /// Whose.
    pub upload_id: UploadId,
    /// Bytes that its file takes from now on; `None` if the upload came to nothing.
    pub bytes_used: Option<u64>,
}

/// Reservations ended: they became used space, or were given back. Of an upload without an open reservation it changes
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSettledV1 {
    /// One entry an upload; 64 at most.
    pub items: Vec<SettledItem>,
}

/// The space of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedItem {
    /// Whose.
    pub file_id: FileId,
    /// Bytes.
    pub bytes: u64,
}

/// Space of files that were purged was given back. It stays in mind until the file's own events say so, too
/// (`FileSpaceReleased`): so it is given back once, however often that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReleasedV2 {
    /// One entry a file; 64 at most.
    pub items: Vec<ReleasedItem>,
    /// Files of earlier releases whose own events say so by now.
    pub recorded: Vec<FileId>,
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
