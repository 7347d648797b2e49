//! Numbers and times as Postgres has them. Sizes are limited far below what would not fit.

use chrono::{DateTime, Utc};
use uuid::Uuid;
use waybill_schema::{CompanyId, Place, Sha256Digest, Timestamp, UserId};

/// The namespace of ids that are derived from others (UUIDv5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_1b1e_9d1a_5c39_8a52_1f0d_57aa_b111);

pub(super) fn time_of(time: Timestamp) -> DateTime<Utc> {
    /// 9999-12-31T23:59:59.999Z: later years are written with a sign, which Postgres reads as a time zone.
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

/// A company's quota has an id of its own, always the same.
pub(super) fn id_of_quota(company: CompanyId) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("quota:{company}").as_bytes())
}

/// A membership has the same id each time it begins.
pub(super) fn id_of_member(company: CompanyId, place: Place, user: UserId) -> Uuid {
    let place = match place {
        Place::Chatroom(id) => format!("chatroom:{id}"),
        Place::Thread(id) => format!("thread:{id}"),
    };
    Uuid::new_v5(&NAMESPACE, format!("member:{company}:{place}:{user}").as_bytes())
}

/// Content that files have in common.
pub(super) fn id_of_content(company: CompanyId, sha256: Sha256Digest) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("content:{company}:{sha256}").as_bytes())
}
