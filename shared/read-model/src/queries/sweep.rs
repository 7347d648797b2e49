//! What the sweep looks for, a batch at a time. These are candidates: whether one is really overdue is decided on its events.
//! Each batch begins behind the one before, so that candidates which stay as they are hold up no others.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;
use waybill_schema::{CompanyId, TokenId, UploadId};

/// Where a candidate stands among those of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The time by which it is sought.
    pub time: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// An upload, or a file, that something may have to be done about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Its company.
    pub company_id: CompanyId,
    /// Its id.
    pub upload_id: UploadId,
    /// Where it stands.
    pub place: Place,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    company_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Timestamptz)]
    time: DateTime<Utc>,
}

fn overdue(Found { company_id, id, time }: Found) -> Overdue {
    Overdue { company_id: CompanyId(company_id), upload_id: UploadId(id), place: Place { time, id } }
}

/// Up to `limit` candidates behind `after`. `table` has the columns `company_id` and `id`; `time` is the column by which they
/// are sought, and indexed; the placeholders of `condition` are `binds`.
async fn find(
    connection: &mut AsyncPgConnection,
    operation: &'static str,
    (table, id, time, condition): (&str, &str, &str, &str),
    binds: Vec<Bind>,
    (after, limit): (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let text = format!(
        "SELECT t.company_id, t.{id} AS id, t.{time} AS time FROM {table} t \
         WHERE {condition} AND (t.{time}, t.{id}) > (?, ?) ORDER BY t.{time}, t.{id} LIMIT ?"
    );
    let behind = [Bind::Time(after.time), Bind::Uuid(after.id), Bind::BigInt(limit)];
    let found: Vec<Found> = Statement::new(text, binds.into_iter().chain(behind))
        .load(connection)
        .await
        .map_err(ReadModelError::query(operation))?;
    Ok(found.into_iter().map(overdue).collect())
}

/// Running uploads whose time was up before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn overdue_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let of = ("upload_progress", "id", "expires_at", "t.status IN ('PENDING', 'UPLOADING') AND t.expires_at < ?");
    find(connection, "looking for expired uploads", of, vec![Bind::Time(time)], page).await
}

/// Running partial uploads whose time was up before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn overdue_partial_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let of = ("partial_upload", "id", "expires_at", "NOT t.has_ended AND t.expires_at < ?");
    find(connection, "looking for expired partial uploads", of, vec![Bind::Time(time)], page).await
}

/// Running uploads whose clients make the object by themselves, and whose URLs ended before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn abandoned_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let condition =
        "t.quarantine_until IS NOT NULL AND t.status IN ('PENDING', 'UPLOADING') AND t.quarantine_until < ?";
    let of = ("upload_progress", "id", "quarantine_until", condition);
    find(connection, "looking for abandoned uploads", of, vec![Bind::Time(time)], page).await
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
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let condition = "t.quarantine_until IS NOT NULL AND t.status IN ('PENDING', 'UPLOADING') \
                     AND t.quarantine_until >= ? AND t.last_updated_at < ?";
    let of = ("upload_progress", "id", "quarantine_until", condition);
    let binds = vec![Bind::Time(until), Bind::Time(quiet_since)];
    find(connection, "looking for objects that clients make", of, binds, page).await
}

/// Ended uploads to whose quarantine key clients could write until `time` at most.
///
/// # Errors
/// [`ReadModelError`].
pub async fn open_quarantines(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let condition = "t.quarantine_until IS NOT NULL AND t.status IN ('COMPLETED', 'FAILED', 'CANCELLED') \
                     AND t.quarantine_until <= ?";
    let of = ("upload_progress", "id", "quarantine_until", condition);
    find(connection, "looking for quarantines to clear", of, vec![Bind::Time(time)], page).await
}

/// Reservations whose upload should have started before `time`, and has not.
///
/// # Errors
/// [`ReadModelError`].
pub async fn overdue_reservations(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let condition = "t.reserved_until < ? \
                     AND NOT EXISTS (SELECT FROM upload_progress u WHERE u.id = t.upload_id) \
                     AND NOT EXISTS (SELECT FROM partial_upload p WHERE p.id = t.upload_id)";
    let of = ("quota_reservation", "upload_id", "reserved_until", condition);
    find(connection, "looking for stale reservations", of, vec![Bind::Time(time)], page).await
}

/// Files that were deleted before `time`, and not purged yet.
///
/// # Errors
/// [`ReadModelError`].
pub async fn files_to_purge(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<Overdue>, ReadModelError> {
    let condition = "t.deleted_at < ? AND t.deleted_at IS NOT NULL AND t.purged_at IS NULL";
    let of = ("file", "id", "deleted_at", condition);
    find(connection, "looking for files to purge", of, vec![Bind::Time(time)], page).await
}

/// Download tokens that ended before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn tokens_to_forget(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: (Place, i64),
) -> Result<Vec<(CompanyId, TokenId, Place)>, ReadModelError> {
    let of = ("download_token", "id", "expires_at", "t.expires_at < ?");
    let found = find(connection, "looking for tokens to forget", of, vec![Bind::Time(time)], page).await?;
    Ok(found.into_iter().map(|token| (token.company_id, TokenId(token.upload_id.0), token.place)).collect())
}

/// Files that are, at `time`, older than their company keeps any: up to 500 of each of the next 20 companies with a retention
/// behind `after`. Also the last of these companies; `None` where there is none.
///
/// # Errors
/// [`ReadModelError`].
pub async fn files_to_retire(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    after: Uuid,
) -> Result<(Vec<Overdue>, Option<Uuid>), ReadModelError> {
    #[derive(QueryableByName)]
    struct Company {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: Uuid,
    }
    let operation = "looking for files to retire";
    let text = "SELECT c.id FROM company c WHERE c.retention_days IS NOT NULL AND c.id > ? ORDER BY c.id LIMIT 20";
    let companies: Vec<Company> =
        Statement::new(text, [Bind::Uuid(after)]).load(connection).await.map_err(ReadModelError::query(operation))?;
    let Some(last) = companies.last().map(|company| company.id) else { return Ok((Vec::new(), None)) };
    // Along the index of listings from its oldest end.
    let text = "SELECT c.id AS company_id, f.id, f.created_at AS time FROM company c, \
                LATERAL (SELECT f.id, f.created_at FROM file f WHERE f.company_id = c.id AND f.is_processed \
                    AND f.deleted_at IS NULL \
                    AND f.created_at < ?::timestamptz - make_interval(days => c.retention_days) \
                    ORDER BY f.created_at, f.id LIMIT 500) f \
                WHERE c.retention_days IS NOT NULL AND c.id > ? AND c.id <= ?";
    let found: Vec<Found> = Statement::new(text, [Bind::Time(time), Bind::Uuid(after), Bind::Uuid(last)])
        .load(connection)
        .await
        .map_err(ReadModelError::query(operation))?;
    Ok((found.into_iter().map(overdue).collect(), Some(last)))
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
    struct Counts {
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
    let found: Vec<Counts> = Statement::new(text, [Bind::Time(time), Bind::BigInt(limit)])
        .load(connection)
        .await
        .map_err(ReadModelError::query("counting companies' files"))?;
    let counted = |found: Counts| Counted {
        company_id: CompanyId(found.company_id),
        file_bytes: found.file_bytes,
        files: found.files,
        accounted_bytes: found.accounted_bytes,
        accounted_files: found.accounted_files,
    };
    Ok(found.into_iter().map(counted).collect())
}
