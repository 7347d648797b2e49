//! Search for files that can be archived, and the times of their last reads.

use super::{FileKey, Share};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Bool, Integer, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use uuid::Uuid;
use waybill_schema::{CompanyId, FileId, UploadId};

/// Returns the next company after `after` whose files are archived, and the number of days without a read after which that
/// happens.
///
/// # Errors
/// [`ReadModelError`].
pub fn next_company_with_archive(
    connection: &mut AsyncPgConnection,
    after: CompanyId,
) -> BoxFuture<'_, Result<Option<(CompanyId, i32)>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Company {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
            #[diesel(sql_type = Integer)]
            days: i32,
        }
        // The rule is that of `waybill_domain::directory::CompanyRules::archive_after_days`.
        let text = "SELECT id, days FROM (SELECT id, least(archive_after_days, \
            (limits->>'archive_after_days')::integer) AS days FROM company) c \
            WHERE days IS NOT NULL AND id > :after ORDER BY id LIMIT 1";
        let found: Vec<Company> = Statement::new(text, [("after", Bind::Uuid(after.0))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for companies with an archive"))?;
        Ok(found.into_iter().next().map(|company| (CompanyId(company.id), company.days)))
    })
}

/// Selects files to archive.
#[derive(Clone, Copy, Debug)]
pub struct ToArchive {
    /// Only files of this company after this one.
    pub after: FileKey,
    /// Only files that were created and last read before this time.
    pub until: DateTime<Utc>,
    /// Only files of this share.
    pub share: Share,
    /// Maximum number of files that are looked at.
    pub limit: i64,
}

/// Files of a company that were looked at.
#[derive(Clone, Debug)]
pub struct ArchivePage {
    /// The files that can be archived.
    pub due: Vec<FileId>,
    /// The last file that was looked at.
    pub last: FileId,
}

/// Looks at files of a company, ordered by id. Returns `None` if there are no more. Their events decide whether they are archived.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_archive(
    connection: &mut AsyncPgConnection,
    wanted: ToArchive,
) -> BoxFuture<'_, Result<Option<ArchivePage>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
            #[diesel(sql_type = Bool)]
            is_due: bool,
        }
        let (share, share_binds) = wanted.share.condition("p.id");
        let text = format!(
            "WITH page AS (SELECT f.id, f.created_at FROM file f WHERE f.storage_tier = 'hot' AND f.is_processed \
                 AND f.purged_at IS NULL AND f.deleted_at IS NULL AND f.size_bytes >= 131072 \
                 AND f.company_id = :company AND f.id > :file ORDER BY f.id LIMIT :limit), \
             judged AS (SELECT p.id, p.created_at < :until {share} AND NOT EXISTS (SELECT FROM file_read r \
                 WHERE r.company_id = :company AND r.file_id = p.id AND r.read_at >= :until) AS is_due FROM page p) \
             SELECT id, is_due FROM judged WHERE is_due OR id = (SELECT max(id::text)::uuid FROM page) ORDER BY id"
        );
        let binds = [
            ("company", Bind::Uuid(wanted.after.company_id.0)),
            ("file", Bind::Uuid(wanted.after.file_id.0)),
            ("until", Bind::Time(wanted.until)),
            ("limit", Bind::BigInt(wanted.limit)),
        ];
        let found: Vec<Found> = Statement::new(&text, binds.into_iter().chain(share_binds))
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files to archive"))?;
        let last = found.last().map(|found| UploadId(found.id));
        let due = found.into_iter().filter(|found| found.is_due).map(|found| UploadId(found.id)).collect();
        Ok(last.map(|last| ArchivePage { due, last }))
    })
}

/// Returns the files of a company that refer to an object, if all of them were created and last read before `until`;
/// otherwise `None`. A deleted file is not read.
///
/// # Errors
/// [`ReadModelError`].
pub fn unread_files<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    storage_key: &'a str,
    until: DateTime<Utc>,
) -> BoxFuture<'a, Result<Option<BTreeSet<FileId>>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
            #[diesel(sql_type = Bool)]
            is_unread: bool,
        }
        let text = "SELECT f.id, f.deleted_at IS NOT NULL OR (f.created_at < :until AND NOT EXISTS (SELECT FROM file_read r \
             WHERE r.company_id = f.company_id AND r.file_id = f.id AND r.read_at >= :until)) AS is_unread \
             FROM file f WHERE f.storage_key = :key AND f.company_id = :company";
        let binds = [
            ("company", Bind::Uuid(company.0)),
            ("key", Bind::Text(storage_key.to_owned())),
            ("until", Bind::Time(until)),
        ];
        let found: Vec<Found> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for the files of an object"))?;
        let are_unread = found.iter().all(|file| file.is_unread);
        Ok(are_unread.then(|| found.into_iter().map(|found| UploadId(found.id)).collect()))
    })
}

/// Records that files were read at `time`.
///
/// # Errors
/// [`ReadModelError`].
pub fn note_reads<'a>(
    connection: &'a mut AsyncPgConnection,
    files: &'a [FileKey],
    time: DateTime<Utc>,
) -> BoxFuture<'a, Result<(), ReadModelError>> {
    Box::pin(async move {
        // In one order, so that two processes do not wait for each other's rows.
        let text = "INSERT INTO file_read (company_id, file_id, read_at) \
             SELECT DISTINCT company_id, file_id, :time FROM unnest(:companies, :files) AS r (company_id, file_id) \
             ORDER BY company_id, file_id \
             ON CONFLICT (company_id, file_id) DO UPDATE SET read_at = greatest(file_read.read_at, EXCLUDED.read_at)";
        let binds = [
            ("companies", Bind::Uuids(files.iter().map(|file| file.company_id.0).collect())),
            ("files", Bind::Uuids(files.iter().map(|file| file.file_id.0).collect())),
            ("time", Bind::Time(time)),
        ];
        Statement::new(text, binds)
            .execute(connection)
            .await
            .map(drop)
            .map_err(ReadModelError::query("recording the reads of files"))
    })
}
