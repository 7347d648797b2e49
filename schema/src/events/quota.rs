//! Events of the quota of a company. Subject: `quota`.

use crate::{FileId, LinkId, SessionId, Timestamp, UploadId, UserId};
use serde::{Deserialize, Serialize};

/// The limit of the company was set. If it is below the used bytes, no new upload can start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaLimitSetV1 {
    /// The limit in bytes.
    pub storage_limit_bytes: u64,
}

/// The limit of the company was set. If it is below the used bytes, no new upload can start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaLimitSetV2 {
    /// The limit in bytes.
    pub storage_limit_bytes: u64,
    /// `true` if the limit is of the host product or the default of the installation. Administrators of the company can
    /// lower it, and raise their own limit up to it.
    pub is_of_host: bool,
}

impl From<QuotaLimitSetV1> for QuotaLimitSetV2 {
    fn from(set: QuotaLimitSetV1) -> Self {
        Self { storage_limit_bytes: set.storage_limit_bytes, is_of_host: true }
    }
}

/// Reservation of one upload in the first version of the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedItemV1 {
    /// The upload.
    pub upload_id: UploadId,
    /// The session. The reservation counts towards its limit.
    pub session_id: Option<SessionId>,
    /// Reserved bytes.
    pub bytes_total: u64,
}

/// Reservation of one upload in the second version of the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedItemV2 {
    /// The upload.
    pub upload_id: UploadId,
    /// The session. The reservation counts towards its limit.
    pub session_id: Option<SessionId>,
    /// Reserved bytes.
    pub bytes_total: u64,
    /// The user. The reservation counts towards the user's limits. Events of the first version have no user.
    pub user_id: Option<UserId>,
}

/// Reservation of one upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedItem {
    /// The upload.
    pub upload_id: UploadId,
    /// The session. The reservation counts towards its limit.
    pub session_id: Option<SessionId>,
    /// Reserved bytes.
    pub bytes_total: u64,
    /// The user. The reservation counts towards the user's limits. Events of the first version have no user.
    pub user_id: Option<UserId>,
    /// The upload link with which the file is sent. The reservation counts towards its limits.
    pub link: Option<ReservedLink>,
}

/// The upload link of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedLink {
    /// The link.
    pub link_id: LinkId,
    /// Time until which uploads can start. After it, the quota forgets the link.
    pub expires_at: Timestamp,
}

impl From<ReservedItemV1> for ReservedItem {
    fn from(item: ReservedItemV1) -> Self {
        let ReservedItemV1 { upload_id, session_id, bytes_total } = item;
        Self { upload_id, session_id, bytes_total, user_id: None, link: None }
    }
}

impl From<ReservedItemV2> for ReservedItem {
    fn from(item: ReservedItemV2) -> Self {
        let ReservedItemV2 { upload_id, session_id, bytes_total, user_id } = item;
        Self { upload_id, session_id, bytes_total, user_id, link: None }
    }
}

/// Bytes were reserved for uploads that are about to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReservedV1 {
    /// One entry per upload, at most 64.
    pub items: Vec<ReservedItemV1>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservations.
    pub until: Timestamp,
}

/// Bytes were reserved for uploads that are about to start. The second version names their users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReservedV2 {
    /// One entry per upload, at most 64.
    pub items: Vec<ReservedItemV2>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservations.
    pub until: Timestamp,
}

/// Bytes were reserved for uploads that are about to start. The third version names their upload links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReservedV3 {
    /// One entry per upload, at most 64.
    pub items: Vec<ReservedItem>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservations.
    pub until: Timestamp,
}

impl From<QuotaReservedV1> for QuotaReservedV3 {
    fn from(reserved: QuotaReservedV1) -> Self {
        let QuotaReservedV1 { items, until } = reserved;
        Self { items: items.into_iter().map(ReservedItem::from).collect(), until }
    }
}

impl From<QuotaReservedV2> for QuotaReservedV3 {
    fn from(reserved: QuotaReservedV2) -> Self {
        let QuotaReservedV2 { items, until } = reserved;
        Self { items: items.into_iter().map(ReservedItem::from).collect(), until }
    }
}

/// The reservation of an open upload of unknown length grew. The event changes nothing if the upload has no open
/// reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRaisedV1 {
    /// The upload.
    pub upload_id: UploadId,
    /// Bytes of the whole reservation.
    pub bytes_total: u64,
}

/// The reservations of partial uploads were transferred to their final upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTransferredV1 {
    /// The reservation of the final upload.
    pub item: ReservedItemV1,
    /// The partial uploads. The event ends their reservations; an upload without a reservation is allowed here.
    pub from: Vec<UploadId>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservation.
    pub until: Timestamp,
}

/// The reservations of partial uploads were transferred to their final upload. The second version names its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTransferredV2 {
    /// The reservation of the final upload.
    pub item: ReservedItemV2,
    /// The partial uploads. The event ends their reservations; an upload without a reservation is allowed here.
    pub from: Vec<UploadId>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservation.
    pub until: Timestamp,
}

/// The reservations of partial uploads were transferred to their final upload. The third version names its upload link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaTransferredV3 {
    /// The reservation of the final upload.
    pub item: ReservedItem,
    /// The partial uploads. The event ends their reservations; an upload without a reservation is allowed here.
    pub from: Vec<UploadId>,
    /// Time until which `UploadStarted` must follow. After it, the sweep releases the reservation.
    pub until: Timestamp,
}

impl From<QuotaTransferredV1> for QuotaTransferredV3 {
    fn from(transferred: QuotaTransferredV1) -> Self {
        let QuotaTransferredV1 { item, from, until } = transferred;
        Self { item: item.into(), from, until }
    }
}

impl From<QuotaTransferredV2> for QuotaTransferredV3 {
    fn from(transferred: QuotaTransferredV2) -> Self {
        let QuotaTransferredV2 { item, from, until } = transferred;
        Self { item: item.into(), from, until }
    }
}

/// End of the reservation of one upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledItem {
    /// The upload.
    pub upload_id: UploadId,
    /// Bytes that the file uses. `None` if the upload did not become a file.
    pub bytes_used: Option<u64>,
}

/// Reservations ended: they were turned into used bytes or released. An entry changes nothing if the upload has no open
/// reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSettledV1 {
    /// One entry per upload, at most 64.
    pub items: Vec<SettledItem>,
}

/// Used bytes of one file in the second version of the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedItemV2 {
    /// The file.
    pub file_id: FileId,
    /// Bytes that the quota gets back.
    pub bytes: u64,
}

/// Used bytes of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedItem {
    /// The file.
    pub file_id: FileId,
    /// Bytes that the quota gets back.
    pub bytes: u64,
    /// The user that uploaded the file, who gets the bytes back, too. Earlier versions have no user.
    pub user_id: Option<UserId>,
}

/// The bytes of purged files were given back. The second version does not name their users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReleasedV2 {
    /// One entry per file, at most 64.
    pub items: Vec<ReleasedItemV2>,
    /// Files of earlier releases whose own events now contain `FileSpaceReleased`. The quota forgets them.
    pub recorded: Vec<FileId>,
}

/// The bytes of purged files were given back. The quota remembers these files until `FileSpaceReleased` is among the
/// events of the file. Repeated attempts therefore give the bytes back only once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaReleasedV3 {
    /// One entry per file, at most 64.
    pub items: Vec<ReleasedItem>,
    /// Files of earlier releases whose own events now contain `FileSpaceReleased`. The quota forgets them.
    pub recorded: Vec<FileId>,
}

impl From<QuotaReleasedV2> for QuotaReleasedV3 {
    fn from(released: QuotaReleasedV2) -> Self {
        let item = |ReleasedItemV2 { file_id, bytes }| ReleasedItem { file_id, bytes, user_id: None };
        Self { items: released.items.into_iter().map(item).collect(), recorded: released.recorded }
    }
}

/// The limit of a user, or of all users of the company, was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUserLimitSetV1 {
    /// The user. `None` for all users that have no limit of their own.
    pub user_id: Option<UserId>,
    /// The limit in bytes. `None` removes it.
    pub limit_bytes: Option<u64>,
}

/// The used bytes of the company were counted again, from the events of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRecalculatedV1 {
    /// Bytes of all files that exist.
    pub storage_used_bytes: u64,
    /// Number of these files.
    pub file_count: u64,
    /// Previously recorded bytes minus the counted bytes.
    pub drift_bytes: i64,
    /// Previously recorded number of files minus the counted number.
    pub drift_files: i64,
}

aggregate_events! {
    /// Events of the quota of a company.
    QuotaEvent of Quota {
        QuotaLimitSet, 2 => QuotaLimitSetV2, before: 1 => QuotaLimitSetV1;
        QuotaReserved, 3 => QuotaReservedV3, before: 1 => QuotaReservedV1, 2 => QuotaReservedV2;
        QuotaRaised, 1 => QuotaRaisedV1;
        QuotaTransferred, 3 => QuotaTransferredV3, before: 1 => QuotaTransferredV1, 2 => QuotaTransferredV2;
        QuotaSettled, 1 => QuotaSettledV1;
        QuotaReleased, 3 => QuotaReleasedV3, before: 2 => QuotaReleasedV2;
        QuotaUserLimitSet, 1 => QuotaUserLimitSetV1;
        QuotaRecalculated, 1 => QuotaRecalculatedV1;
    }
}
