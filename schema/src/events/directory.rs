//! Events of the directory of a company. Subject: `directory`. The host product registers companies, users, chatrooms,
//! threads and memberships. Waybill stores their ids and no names.

use crate::access::Place;
use crate::location::LocationPolicy;
use crate::scan::{ScanPolicy, UnscannedPolicy};
use crate::{ChatroomId, CompanyId, ThreadId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// The company was registered. A closed company is open again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyRegisteredV1 {
    /// The company.
    pub company_id: CompanyId,
}

/// Settings of a company in version 1 of the event. See [`CompanySettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in CompanySettings")]
pub struct CompanySettingsV1 {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
}

/// Settings of a company before version 3 of the event. See [`CompanySettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in CompanySettings")]
pub struct CompanySettingsV2 {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
}

/// Settings of a company before version 4 of the event. See [`CompanySettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in CompanySettings")]
pub struct CompanySettingsV3 {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
    pub scan: Option<ScanPolicy>,
    pub unscanned: Option<UnscannedPolicy>,
}

/// Settings of a company before version 5 of the event. See [`CompanySettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in CompanySettings")]
pub struct CompanySettingsV4 {
    pub max_file_bytes: Option<u64>,
    pub max_session_bytes: Option<u64>,
    pub allowed_mime_types: Option<Vec<String>>,
    pub retention_days: Option<u32>,
    pub link_max_age_s: Option<u32>,
    pub link_max_downloads: Option<u32>,
    pub scan: Option<ScanPolicy>,
    pub unscanned: Option<UnscannedPolicy>,
    pub archive_after_days: Option<u32>,
}

/// Rules for the files of a company. Sizes are in bytes, and limits are inclusive. `None` leaves a rule to the
/// installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettings {
    /// Maximum size of a file.
    pub max_file_bytes: Option<u64>,
    /// Maximum size of all files of a session together.
    pub max_session_bytes: Option<u64>,
    /// Accepted media types: complete ones, or prefixes that end in `*`.
    pub allowed_mime_types: Option<Vec<String>>,
    /// Number of days after which a file is deleted automatically.
    pub retention_days: Option<u32>,
    /// Maximum validity of download links in seconds. 0 forbids download links.
    pub link_max_age_s: Option<u32>,
    /// Maximum number of downloads with one download link.
    pub link_max_downloads: Option<u32>,
    /// Policy for virus scans.
    pub scan: Option<ScanPolicy>,
    /// Policy for files that could not be scanned completely, if a scan is required.
    pub unscanned: Option<UnscannedPolicy>,
    /// Number of days after which a file that nobody reads is archived.
    pub archive_after_days: Option<u32>,
    /// Policy for metadata in pictures.
    pub strip_location: Option<LocationPolicy>,
}

impl From<CompanySettingsV4> for CompanySettings {
    fn from(before: CompanySettingsV4) -> Self {
        Self {
            max_file_bytes: before.max_file_bytes,
            max_session_bytes: before.max_session_bytes,
            allowed_mime_types: before.allowed_mime_types,
            retention_days: before.retention_days,
            link_max_age_s: before.link_max_age_s,
            link_max_downloads: before.link_max_downloads,
            scan: before.scan,
            unscanned: before.unscanned,
            archive_after_days: before.archive_after_days,
            strip_location: None,
        }
    }
}

impl From<CompanySettingsV3> for CompanySettings {
    fn from(before: CompanySettingsV3) -> Self {
        Self {
            max_file_bytes: before.max_file_bytes,
            max_session_bytes: before.max_session_bytes,
            allowed_mime_types: before.allowed_mime_types,
            retention_days: before.retention_days,
            link_max_age_s: before.link_max_age_s,
            link_max_downloads: before.link_max_downloads,
            scan: before.scan,
            unscanned: before.unscanned,
            archive_after_days: None,
            strip_location: None,
        }
    }
}

impl From<CompanySettingsV2> for CompanySettings {
    fn from(before: CompanySettingsV2) -> Self {
        Self {
            max_file_bytes: before.max_file_bytes,
            max_session_bytes: before.max_session_bytes,
            allowed_mime_types: before.allowed_mime_types,
            retention_days: before.retention_days,
            link_max_age_s: before.link_max_age_s,
            link_max_downloads: before.link_max_downloads,
            scan: None,
            unscanned: None,
            archive_after_days: None,
            strip_location: None,
        }
    }
}

/// The settings of the company changed. The new settings replace all previous ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV1 {
    /// The settings.
    pub settings: CompanySettingsV1,
}

/// The company changed its own settings. See [`CompanySettingsChangedV5`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV2 {
    /// The settings.
    pub settings: CompanySettingsV2,
}

/// The company changed its own settings. See [`CompanySettingsChangedV5`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV3 {
    /// The settings.
    pub settings: CompanySettingsV3,
}

/// The company changed its own settings. See [`CompanySettingsChangedV5`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV4 {
    /// The settings.
    pub settings: CompanySettingsV4,
}

/// The company changed its own settings. They replace all previous ones, and apply within the limits of
/// [`CompanyLimitsSetV4`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanySettingsChangedV5 {
    /// The settings.
    pub settings: CompanySettings,
}

impl From<CompanySettingsChangedV1> for CompanySettingsChangedV5 {
    fn from(changed: CompanySettingsChangedV1) -> Self {
        let CompanySettingsV1 { max_file_bytes, max_session_bytes, allowed_mime_types, retention_days } =
            changed.settings;
        let settings = CompanySettings {
            max_file_bytes,
            max_session_bytes,
            allowed_mime_types,
            retention_days,
            ..CompanySettings::default()
        };
        Self { settings }
    }
}

impl From<CompanySettingsChangedV2> for CompanySettingsChangedV5 {
    fn from(changed: CompanySettingsChangedV2) -> Self {
        Self { settings: changed.settings.into() }
    }
}

impl From<CompanySettingsChangedV3> for CompanySettingsChangedV5 {
    fn from(changed: CompanySettingsChangedV3) -> Self {
        Self { settings: changed.settings.into() }
    }
}

impl From<CompanySettingsChangedV4> for CompanySettingsChangedV5 {
    fn from(changed: CompanySettingsChangedV4) -> Self {
        Self { settings: changed.settings.into() }
    }
}

/// The host product set limits for the settings of the company. See [`CompanyLimitsSetV4`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyLimitsSetV1 {
    /// Upper limits.
    pub limits: CompanySettingsV2,
    /// Minimum number of days for which files are kept, if the company sets a retention.
    pub min_retention_days: Option<u32>,
}

/// The host product set limits for the settings of the company. See [`CompanyLimitsSetV4`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyLimitsSetV2 {
    /// Upper limits.
    pub limits: CompanySettingsV3,
    /// Minimum number of days for which files are kept, if the company sets a retention.
    pub min_retention_days: Option<u32>,
}

/// The host product set limits for the settings of the company. See [`CompanyLimitsSetV4`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyLimitsSetV3 {
    /// Upper limits.
    pub limits: CompanySettingsV4,
    /// Minimum number of days for which files are kept, if the company sets a retention.
    pub min_retention_days: Option<u32>,
}

/// The host product set limits for the settings of the company. They replace all previous limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyLimitsSetV4 {
    /// Upper limits. The company may only set stricter rules.
    pub limits: CompanySettings,
    /// Minimum number of days for which files are kept, if the company sets a retention.
    pub min_retention_days: Option<u32>,
}

impl From<CompanyLimitsSetV1> for CompanyLimitsSetV4 {
    fn from(set: CompanyLimitsSetV1) -> Self {
        Self { limits: set.limits.into(), min_retention_days: set.min_retention_days }
    }
}

impl From<CompanyLimitsSetV2> for CompanyLimitsSetV4 {
    fn from(set: CompanyLimitsSetV2) -> Self {
        Self { limits: set.limits.into(), min_retention_days: set.min_retention_days }
    }
}

impl From<CompanyLimitsSetV3> for CompanyLimitsSetV4 {
    fn from(set: CompanyLimitsSetV3) -> Self {
        Self { limits: set.limits.into(), min_retention_days: set.min_retention_days }
    }
}

/// Tokens of one user, or of all users of the company, are not accepted any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensInvalidatedV1 {
    /// The user. `None` stands for all users.
    pub user_id: Option<UserId>,
    /// Tokens that were issued earlier (`iat`), or do not say when, are invalid.
    pub issued_before: Timestamp,
}

/// The company was closed: its users may not do anything any more. Its files remain until they are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanyClosedV1 {}

/// A user was registered. A removed user exists again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRegisteredV1 {
    /// The user.
    pub user_id: UserId,
}

/// A user was removed. The user may not do anything any more and loses all memberships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRemovedV1 {
    /// The user.
    pub user_id: UserId,
}

/// A chatroom was registered. A deleted chatroom exists again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatroomOpenedV1 {
    /// The chatroom.
    pub chatroom_id: ChatroomId,
}

/// A chatroom was deleted. Files are no longer shared there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatroomDeletedV1 {
    /// The chatroom.
    pub chatroom_id: ChatroomId,
}

/// A thread was registered. A deleted thread exists again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadOpenedV1 {
    /// The thread.
    pub thread_id: ThreadId,
    /// The chatroom that the thread belongs to. Members of the chatroom are members of the thread. It never changes.
    pub chatroom_id: Option<ChatroomId>,
}

/// A thread was deleted. Files are no longer shared there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadDeletedV1 {
    /// The thread.
    pub thread_id: ThreadId,
}

/// A user became a member of a chatroom or thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddedV1 {
    /// The chatroom or thread.
    pub place: Place,
    /// The user.
    pub user_id: UserId,
}

/// A user is no longer a member of a chatroom or thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemovedV1 {
    /// The chatroom or thread.
    pub place: Place,
    /// The user.
    pub user_id: UserId,
}

aggregate_events! {
    /// Events of the directory of a company.
    DirectoryEvent of Directory {
        CompanyRegistered, 1 => CompanyRegisteredV1;
        CompanySettingsChanged, 5 => CompanySettingsChangedV5,
            before: 1 => CompanySettingsChangedV1, 2 => CompanySettingsChangedV2, 3 => CompanySettingsChangedV3,
                4 => CompanySettingsChangedV4;
        CompanyLimitsSet, 4 => CompanyLimitsSetV4,
            before: 1 => CompanyLimitsSetV1, 2 => CompanyLimitsSetV2, 3 => CompanyLimitsSetV3;
        CompanyClosed, 1 => CompanyClosedV1;
        UserRegistered, 1 => UserRegisteredV1;
        UserRemoved, 1 => UserRemovedV1;
        ChatroomOpened, 1 => ChatroomOpenedV1;
        ChatroomDeleted, 1 => ChatroomDeletedV1;
        ThreadOpened, 1 => ThreadOpenedV1;
        ThreadDeleted, 1 => ThreadDeletedV1;
        MemberAdded, 1 => MemberAddedV1;
        MemberRemoved, 1 => MemberRemovedV1;
        TokensInvalidated, 1 => TokensInvalidatedV1;
    }
}
