//! Queries for the candidates of the sweep, in batches. The caller must check from the events whether a candidate is
//! really overdue. Each batch begins after the previous one, so that candidates which remain do not block the others.

use super::candidates::{Candidates, Overdue, Page, Place, find, literals};
use super::{Planning, load_planned};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_schema::{CompanyId, TokenId, UploadStatus};

/// Returns running uploads that expired before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub fn overdue_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let of = Candidates {
            table: "upload_progress",
            id: "id",
            time: "expires_at",
            condition: format!("t.status IN ({}) AND t.expires_at < :time", literals(&UploadStatus::RUNNING)),
        };
        find(connection, "searching for expired uploads", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// Returns running partial uploads that expired before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub fn overdue_partial_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let of = Candidates {
            table: "partial_upload",
            id: "id",
            time: "expires_at",
            condition: "NOT t.has_ended AND t.expires_at < :time".to_owned(),
        };
        find(connection, "searching for expired partial uploads", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// Returns running direct uploads whose presigned URLs expired before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub fn abandoned_uploads(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let running = literals(&UploadStatus::RUNNING);
        let condition =
            format!("t.quarantine_until IS NOT NULL AND t.status IN ({running}) AND t.quarantine_until < :time");
        let of = Candidates { table: "upload_progress", id: "id", time: "quarantine_until", condition };
        find(connection, "searching for abandoned uploads", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// Returns running direct uploads whose last event is older than `quiet_since` and whose presigned URLs expire at
/// `until` or later.
///
/// # Errors
/// [`ReadModelError`].
pub fn awaited_objects(
    connection: &mut AsyncPgConnection,
    quiet_since: DateTime<Utc>,
    until: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let condition = format!(
            "t.quarantine_until IS NOT NULL AND t.status IN ({}) AND t.quarantine_until >= :until AND t.last_updated_at < :quiet_since",
            literals(&UploadStatus::RUNNING)
        );
        let of = Candidates { table: "upload_progress", id: "id", time: "quarantine_until", condition };
        let binds = vec![("until", Bind::Time(until)), ("quiet_since", Bind::Time(quiet_since))];
        find(connection, "searching for awaited objects", of, binds, page).await
    })
}

/// Returns ended direct uploads whose presigned URLs expired at `time` or earlier, so that their quarantine can be
/// cleared.
///
/// # Errors
/// [`ReadModelError`].
pub fn open_quarantines(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let ended = literals(&UploadStatus::ENDED);
        let condition =
            format!("t.quarantine_until IS NOT NULL AND t.status IN ({ended}) AND t.quarantine_until <= :time");
        let of = Candidates { table: "upload_progress", id: "id", time: "quarantine_until", condition };
        find(connection, "searching for quarantines to clear", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// Returns reservations whose upload had to start before `time` and has not started.
///
/// # Errors
/// [`ReadModelError`].
pub fn overdue_reservations(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let condition = "t.reserved_until < :time \
                     AND NOT EXISTS (SELECT FROM file f WHERE f.company_id = t.company_id AND f.id = t.upload_id) \
                     AND NOT EXISTS (SELECT FROM partial_upload p WHERE p.id = t.upload_id)"
            .to_owned();
        let of = Candidates { table: "quota_reservation", id: "upload_id", time: "reserved_until", condition };
        find(connection, "searching for stale reservations", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// Returns files that were deleted before `time` and are not purged yet.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_purge(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        let condition = "t.deleted_at < :time AND t.deleted_at IS NOT NULL AND t.purged_at IS NULL".to_owned();
        let of = Candidates { table: "file", id: "id", time: "deleted_at", condition };
        find(connection, "searching for files to purge", of, vec![("time", Bind::Time(time))], page).await
    })
}

/// A download token of a company and its place among the candidates.
type Token = (CompanyId, TokenId, Place);

/// Returns download tokens that expired before `time`.
///
/// # Errors
/// [`ReadModelError`].
pub fn tokens_to_forget(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Token>, ReadModelError>> {
    Box::pin(async move {
        let condition = "t.expires_at < :time".to_owned();
        let of = Candidates { table: "download_token", id: "id", time: "expires_at", condition };
        let found =
            find(connection, "searching for expired tokens", of, vec![("time", Bind::Time(time))], page).await?;
        Ok(found.into_iter().map(|token| (token.company_id, TokenId(token.upload_id.0), token.place)).collect())
    })
}

/// Returns the next 100 companies with a retention period after `after`, and the number of days that each keeps files.
///
/// # Errors
/// [`ReadModelError`].
pub fn companies_with_retention(
    connection: &mut AsyncPgConnection,
    after: Uuid,
) -> BoxFuture<'_, Result<Vec<(CompanyId, i32)>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Company {
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            id: Uuid,
            #[diesel(sql_type = diesel::sql_types::Integer)]
            retention_days: i32,
        }
        // The rules are those of `waybill_domain::directory::CompanyRules::retention_days`.
        let text = "SELECT id, greatest(days, min_retention_days) AS retention_days FROM (
                SELECT id, min_retention_days, least(retention_days, (limits->>'retention_days')::integer) AS days FROM company
            ) c WHERE days IS NOT NULL AND id > :after ORDER BY id LIMIT 100";
        let found: Vec<Company> = Statement::new(text, [("after", Bind::Uuid(after))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for companies with a retention period"))?;
        Ok(found.into_iter().map(|company| (CompanyId(company.id), company.retention_days)).collect())
    })
}

/// Returns files of a company that were created before `until` and not restored after it.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_retire(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    until: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Overdue>, ReadModelError>> {
    Box::pin(async move {
        // Scans the index of listings from the oldest file on.
        let condition =
            "t.company_id = :company AND t.is_processed AND t.deleted_at IS NULL AND t.created_at < :until \
                     AND (t.restored_at IS NULL OR t.restored_at < :until)"
                .to_owned();
        let of = Candidates { table: "file", id: "id", time: "created_at", condition };
        let binds = vec![("company", Bind::Uuid(company.0)), ("until", Bind::Time(until))];
        find(connection, "searching for files past their retention period", of, binds, page).await
    })
}

/// The actual size and number of a company's files, and the values of its quota, from one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The company.
    pub company_id: CompanyId,
    /// Total size of the files in bytes.
    pub file_bytes: i64,
    /// Number of files.
    pub files: i64,
    /// Used bytes of the quota.
    pub accounted_bytes: i64,
    /// Number of files in the quota.
    pub accounted_files: i64,
    /// Place of the company among the candidates.
    pub place: Place,
}

impl Counted {
    /// Returns the number of bytes by which the quota exceeds the actual size.
    pub fn drift_bytes(&self) -> i64 {
        self.accounted_bytes - self.file_bytes
    }

    /// Returns the number of files by which the quota exceeds the actual number.
    pub fn drift_files(&self) -> i64 {
        self.accounted_files - self.files
    }
}

/// Returns companies whose quota was last recalculated before `time` and has changed since. The cost depends on the
/// number of open reservations and not on the number of files. Files with an open reservation are counted on neither
/// side, and neither are files that were purged in the last 10 minutes and whose bytes were not released yet.
///
/// # Errors
/// [`ReadModelError`].
pub fn quotas_to_count(
    connection: &mut AsyncPgConnection,
    time: DateTime<Utc>,
    page: Page,
) -> BoxFuture<'_, Result<Vec<Counted>, ReadModelError>> {
    Box::pin(async move {
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
            #[diesel(sql_type = diesel::sql_types::Timestamptz)]
            time: DateTime<Utc>,
        }
        let (ours, share) = page.share.condition("q.company_id");
        let text = format!(
            "SELECT q.company_id, q.last_calculated_at AS time, \
                coalesce(t.file_bytes, 0) - open.kept_bytes AS file_bytes, coalesce(t.file_count, 0) - open.kept AS files, \
                q.storage_used_bytes - CASE WHEN late THEN 0 ELSE t.releasing_bytes - open.purged_bytes END \
                    AS accounted_bytes, \
                q.file_count - CASE WHEN late THEN 0 ELSE t.releasing_count - open.purged END AS accounted_files \
                FROM (SELECT * FROM storage_quota q WHERE q.last_calculated_at < :time \
                    AND q.updated_at > q.last_calculated_at {ours} AND (q.last_calculated_at, q.company_id) > (:after_time, :after_id) \
                    ORDER BY q.last_calculated_at, q.company_id LIMIT :limit) q \
                LEFT JOIN file_total t ON t.company_id = q.company_id, \
                LATERAL (SELECT coalesce(t.last_purged_at < now() - interval '10 minutes', true) AS late) l, \
                LATERAL (SELECT \
                    coalesce(sum(f.size_bytes) FILTER (WHERE f.purged_at IS NULL), 0)::bigint AS kept_bytes, \
                    count(f.id) FILTER (WHERE f.purged_at IS NULL) AS kept, \
                    coalesce(sum(f.size_bytes) FILTER (WHERE f.purged_at IS NOT NULL), 0)::bigint AS purged_bytes, \
                    count(f.id) FILTER (WHERE f.purged_at IS NOT NULL) AS purged \
                    FROM quota_reservation r JOIN file f ON f.company_id = r.company_id AND f.id = r.upload_id \
                    WHERE r.company_id = q.company_id AND f.is_processed) open \
                ORDER BY q.last_calculated_at, q.company_id"
        );
        let binds = [("time", Bind::Time(time))].into_iter().chain(share).chain(page.binds());
        let found: Vec<Counts> = load_planned(
            connection,
            Statement::new(&text, binds),
            Planning::ForValues,
            None,
            "searching for quotas to recalculate",
        )
        .await?;
        let counted = |found: Counts| Counted {
            company_id: CompanyId(found.company_id),
            file_bytes: found.file_bytes,
            files: found.files,
            accounted_bytes: found.accounted_bytes,
            accounted_files: found.accounted_files,
            place: Place { time: found.time, id: found.company_id },
        };
        Ok(found.into_iter().map(counted).collect())
    })
}
