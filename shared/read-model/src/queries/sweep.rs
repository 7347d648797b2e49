//! What the sweep looks for. These are candidates: whether one is really overdue is decided on its events.

use crate::ReadModelError;
use crate::schema::{partial_upload, quota_reservation, upload_progress};
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use waybill_schema::{CompanyId, TokenId, UploadId};

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

/// Running uploads, partial ones too, whose time was up before `time`, or that of the URLs by which their clients make the
/// object.
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
        .filter(
            upload_progress::expires_at.lt(time).or(upload_progress::quarantine_until
                .is_not_null()
                .and(upload_progress::quarantine_until.assume_not_null().lt(time))),
        )
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
        .filter(quota_reservation::reserved_until.lt(time))
        .filter(diesel::dsl::not(diesel::dsl::exists(started)))
        .filter(diesel::dsl::not(diesel::dsl::exists(partial)))
        .select((quota_reservation::company_id, quota_reservation::upload_id))
        .limit(limit)
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for stale reservations"))?;
    Ok(found.into_iter().map(overdue).collect())
}

#[derive(QueryableByName)]
struct FoundFile {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    company_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

async fn find_files(
    connection: &mut AsyncPgConnection,
    operation: &'static str,
    text: &str,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let found: Vec<FoundFile> = Statement::new(text, [Bind::Time(time), Bind::BigInt(limit)])
        .load(connection)
        .await
        .map_err(ReadModelError::query(operation))?;
    Ok(found.into_iter().map(|file| overdue((file.company_id, file.id))).collect())
}

/// Files that were deleted before `time`, and not purged yet.
///
/// # Errors
/// [`ReadModelError`].
pub async fn files_to_purge(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    let text = "SELECT company_id, id FROM file \
                WHERE deleted_at < ? AND deleted_at IS NOT NULL AND purged_at IS NULL LIMIT ?";
    find_files(connection, "looking for files to purge", text, time, limit).await
}

/// Download tokens that ended before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn tokens_to_forget(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(CompanyId, TokenId)>, ReadModelError> {
    let text = "SELECT company_id, id FROM download_token WHERE expires_at < ? LIMIT ?";
    let found: Vec<FoundFile> = Statement::new(text, [Bind::Time(time), Bind::BigInt(limit)])
        .load(connection)
        .await
        .map_err(ReadModelError::query("looking for tokens to forget"))?;
    Ok(found.into_iter().map(|token| (CompanyId(token.company_id), TokenId(token.id))).collect())
}

/// Files that are, at `time`, older than their company keeps any.
///
/// # Errors
/// [`ReadModelError`].
pub async fn files_to_retire(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, ReadModelError> {
    // Company by company, along the index of listings from its oldest end: nothing is read where none has a retention.
    let text = "SELECT c.id AS company_id, f.id FROM company c, \
                LATERAL (SELECT f.id FROM file f WHERE f.company_id = c.id AND f.is_processed AND f.deleted_at IS NULL \
                    AND f.created_at < ?::timestamptz - make_interval(days => c.retention_days) \
                    ORDER BY f.created_at, f.id LIMIT 500) f \
                WHERE c.retention_days IS NOT NULL LIMIT ?";
    find_files(connection, "looking for files to retire", text, time, limit).await
}

/// What a company's files take, beside what is accounted for; both as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The company.
    pub company_id: CompanyId,
    /// Bytes of its files.
    pub file_bytes: i64,
    /// How many there are.
    pub files: i64,
    /// Bytes that are accounted for.
    pub accounted_bytes: i64,
    /// How many files are.
    pub accounted_files: i64,
}

impl Counted {
    /// How many bytes too many are accounted for.
    pub fn drift_bytes(&self) -> i64 {
        self.accounted_bytes - self.file_bytes
    }

    /// How many files too many are.
    pub fn drift_files(&self) -> i64 {
        self.accounted_files - self.files
    }
}

/// Companies whose files were last counted before `time`, counted. A file whose space is not settled yet is on neither
/// side, and a company with one that was purged a moment ago waits for the next time.
///
/// # Errors
/// [`ReadModelError`].
pub async fn quotas_to_count(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Counted>, ReadModelError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        company_id: Uuid,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        file_bytes: i64,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        files: i64,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        accounted_bytes: i64,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        accounted_files: i64,
    }
    let text = "SELECT q.company_id, n.file_bytes, n.files, q.storage_used_bytes AS accounted_bytes, \
                q.file_count::bigint AS accounted_files \
                FROM (SELECT * FROM storage_quota q WHERE q.last_calculated_at < ? AND ( \
                    SELECT count(*) FROM file f WHERE f.company_id = q.company_id AND f.deleted_at IS NOT NULL \
                    AND f.purged_at > now() - interval '10 minutes') = 0 \
                    ORDER BY q.last_calculated_at LIMIT ?) q, \
                LATERAL (SELECT coalesce(sum(f.size_bytes), 0)::bigint AS file_bytes, count(f.id) AS files \
                    FROM file f LEFT JOIN quota_reservation r ON r.upload_id = f.id \
                    WHERE f.company_id = q.company_id AND f.is_processed AND f.purged_at IS NULL \
                    AND r.upload_id IS NULL) n";
    let found: Vec<Found> = Statement::new(text, [Bind::Time(time), Bind::BigInt(limit)])
        .load(connection)
        .await
        .map_err(ReadModelError::query("counting companies' files"))?;
    let counted = |found: Found| Counted {
        company_id: CompanyId(found.company_id),
        file_bytes: found.file_bytes,
        files: found.files,
        accounted_bytes: found.accounted_bytes,
        accounted_files: found.accounted_files,
    };
    Ok(found.into_iter().map(counted).collect())
}
