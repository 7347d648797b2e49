//! What the sweep looks for. These are candidates: whether one is really overdue is decided on its events.

use crate::ReadModelError;
use crate::schema::{partial_upload, quota_reservation, upload_progress};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use waybill_schema::{CompanyId, UploadId};

/// An upload that may have to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Its company.
    pub company_id: CompanyId,
    /// Its id.
    pub upload_id: UploadId,
}

fn overdue((company, upload): (Uuid, Uuid)) -> Overdue {
    Overdue { company_id: CompanyId(company), upload_id: UploadId(upload) }
}

/// Running uploads, partial ones too, whose time was up before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn overdue_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let mut found: Vec<(Uuid, Uuid)> = upload_progress::table
        .filter(upload_progress::status.eq_any(["PENDING", "UPLOADING"]))
        .filter(upload_progress::expires_at.lt(time))
        .select((upload_progress::company_id, upload_progress::id))
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for expired uploads"))?;
    let partials: Vec<(Uuid, Uuid)> = partial_upload::table
        .filter(partial_upload::has_ended.eq(false).and(partial_upload::expires_at.lt(time)))
        .select((partial_upload::company_id, partial_upload::id))
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for expired partial uploads"))?;
    found.extend(partials);
    Ok(found.into_iter().map(overdue).collect())
}

/// Running uploads whose object the client makes by itself, that were last heard of before `quiet_since` and may come
/// until `until` or later.
///
/// # Errors
/// [`ReadModelError`].
pub async fn awaited_objects(
    connection: &mut AsyncPgConnection,
    quiet_since: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let found = upload_progress::table
        .filter(upload_progress::status.eq_any(["PENDING", "UPLOADING"]))
        .filter(upload_progress::quarantine_until.ge(until).and(upload_progress::last_updated_at.lt(quiet_since)))
        .select((upload_progress::company_id, upload_progress::id))
        .order(upload_progress::quarantine_until)
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for objects that clients make"))?;
    Ok(found.into_iter().map(overdue).collect())
}

/// Ended uploads to whose quarantine key clients could write until `time` at most.
///
/// # Errors
/// [`ReadModelError`].
pub async fn open_quarantines(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let found = upload_progress::table
        .filter(upload_progress::status.eq_any(["COMPLETED", "FAILED", "CANCELLED"]))
        .filter(upload_progress::quarantine_until.le(time))
        .select((upload_progress::company_id, upload_progress::id))
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for quarantines to clear"))?;
    Ok(found.into_iter().map(overdue).collect())
}

/// Reservations whose upload should have started before `time`, and has not.
///
/// # Errors
/// [`ReadModelError`].
pub async fn overdue_reservations(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let started = upload_progress::table.filter(upload_progress::id.eq(quota_reservation::upload_id));
    let partial = partial_upload::table.filter(partial_upload::id.eq(quota_reservation::upload_id));
    let found = quota_reservation::table
        .filter(quota_reservation::settled.eq(false).and(quota_reservation::reserved_until.lt(time)))
        .filter(diesel::dsl::not(diesel::dsl::exists(started)))
        .filter(diesel::dsl::not(diesel::dsl::exists(partial)))
        .select((quota_reservation::company_id, quota_reservation::upload_id))
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for stale reservations"))?;
    Ok(found.into_iter().map(overdue).collect())
}
