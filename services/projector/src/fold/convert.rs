//! Converts numbers, times and ids to the types of PostgreSQL. The limits for sizes are far below the limits of the
//! types.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use waybill_schema::{CompanyId, Place, Sha256Digest, Timestamp, UserId};

/// Namespace for ids that are derived from other ids (UUIDv5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_1b1e_9d1a_5c39_8a52_1f0d_57aa_b111);

pub(super) fn time_of(time: Timestamp) -> DateTime<Utc> {
    /// 9999-12-31T23:59:59.999Z. Later years are written with a sign, which PostgreSQL reads as a time zone.
    const LAST: i64 = 253_402_300_799_999;
    DateTime::from_timestamp_millis(time.0.min(LAST)).unwrap_or_default()
}

pub(super) fn ms_of(time: DateTime<Utc>) -> Timestamp {
    Timestamp(time.timestamp_millis())
}

pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn small(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// Returns the constant id of the quota of a company.
pub(super) fn id_of_quota(company: CompanyId) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("quota:{company}").as_bytes())
}

/// Returns the id of a membership. It stays the same if the membership ends and begins again.
pub(super) fn id_of_member(company: CompanyId, place: Place, user: UserId) -> Uuid {
    let place = match place {
        Place::Chatroom(id) => format!("chatroom:{id}"),
        Place::Thread(id) => format!("thread:{id}"),
    };
    Uuid::new_v5(&NAMESPACE, format!("member:{company}:{place}:{user}").as_bytes())
}

/// Returns the id of the content that files of a company share.
pub(super) fn id_of_content(company: CompanyId, sha256: Sha256Digest) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("content:{company}:{sha256}").as_bytes())
}
