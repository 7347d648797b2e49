//! Last virus scan of a file: the JSON in `file.scan`, which clients get unchanged.

use super::preview::IdRow;
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::events::FileScanned;
use waybill_schema::{CompanyId, FileId, ScanResult, Sha256Digest, UnscannedReason, UploadId, Verdict};

/// Last virus scan of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scan {
    /// `CLEAN`, `INFECTED`, or `UNSCANNED` if the scanner could not look at everything.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// Name of the finding in an infected file.
    pub signature: Option<String>,
    /// Reason for `UNSCANNED`: `too_large`, `encrypted`, `limits_exceeded` or `failed`.
    #[schema(value_type = Option<String>)]
    pub reason: Option<UnscannedReason>,
    /// Scanner and its version.
    pub engine: String,
    /// Version of its signatures.
    pub database_version: String,
    /// Number of bytes that the scanner read.
    pub covered_bytes: u64,
    /// Time of the scan.
    pub scanned_at: DateTime<Utc>,
}

impl Scan {
    /// Returns the scan of an event that was recorded at `time`.
    pub fn of(scanned: &FileScanned, time: DateTime<Utc>) -> Self {
        Self {
            verdict: (&scanned.result).into(),
            signature: scanned.result.signature().map(str::to_owned),
            reason: scanned.result.reason(),
            engine: scanned.engine.clone(),
            database_version: scanned.database_version.clone(),
            covered_bytes: scanned.covered_bytes,
            scanned_at: time,
        }
    }

    /// Returns the result of the scan.
    pub fn result(&self) -> ScanResult {
        match self.verdict {
            Verdict::Clean => ScanResult::Clean,
            Verdict::Infected => ScanResult::Infected { signature: self.signature.clone().unwrap_or_default() },
            Verdict::Unscanned => ScanResult::Unscanned { reason: self.reason.unwrap_or(UnscannedReason::Failed) },
        }
    }

    /// Reads the value of the column.
    ///
    /// # Errors
    /// If the JSON is not a scan.
    pub fn parse(json: serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(json)
    }
}

/// Returns the next 100 companies after `after` that are not closed and whose files are scanned because of their own rules, or
/// all companies if `all` is set.
///
/// # Errors
/// [`ReadModelError`].
pub fn companies_with_scans(
    connection: &mut AsyncPgConnection,
    all: bool,
    after: Uuid,
) -> BoxFuture<'_, Result<Vec<CompanyId>, ReadModelError>> {
    Box::pin(async move {
        // The rules are those of `waybill_domain::directory::CompanyRules::scans`.
        let text = "SELECT id FROM company WHERE id > :after AND deleted_at IS NULL \
                AND (:all OR scan IN ('inform', 'require') OR limits->>'scan' IN ('inform', 'require')) \
                ORDER BY id LIMIT 100";
        let found: Vec<IdRow> = Statement::new(text, [("after", Bind::Uuid(after)), ("all", Bind::Bool(all))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for companies whose files are scanned"))?;
        Ok(found.into_iter().map(|company| CompanyId(company.id)).collect())
    })
}

/// Page of a company's files in which a search looks for those to scan.
#[derive(Clone, Copy, Debug)]
pub struct Unscanned<'a> {
    /// The company.
    pub company: CompanyId,
    /// Version of the signatures. Files that were scanned with another version before [`Unscanned::scanned_until`] are
    /// scanned again.
    pub database_version: &'a str,
    /// Latest time of a scan that is repeated.
    pub scanned_until: DateTime<Utc>,
    /// The file after which the page begins.
    pub after: Uuid,
    /// Number of files that the query reads.
    pub limit: i64,
}

/// Files of a page that must be scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPage {
    /// The files that were not scanned, or not recently. Files with which the scanner failed are due after an hour.
    pub due: Vec<FileId>,
    /// The last file of the page.
    pub last: Uuid,
}

/// Returns the files of a page, ordered by id, that must be scanned; `None` if the page has no files. The events of each file
/// decide whether it must be scanned.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_scan<'a>(
    connection: &'a mut AsyncPgConnection,
    wanted: Unscanned<'a>,
) -> BoxFuture<'a, Result<Option<ScanPage>, ReadModelError>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: Uuid,
        #[diesel(sql_type = diesel::sql_types::Bool)]
        due: bool,
    }
    Box::pin(async move {
        // Reads a bounded number of rows, however few of them are due.
        let text = "WITH page AS (SELECT id, is_processed AND purged_at IS NULL AND storage_tier <> 'archive' AND (scan_verdict IS NULL \
                OR (scan->>'reason' = 'failed' AND (scan->>'scanned_at')::timestamptz < now() - interval '1 hour') \
                OR (scan->>'database_version' <> :version AND (scan->>'scanned_at')::timestamptz < :until)) AS due \
                FROM file WHERE company_id = :company AND id > :after ORDER BY id LIMIT :limit) \
            SELECT id, coalesce(due, false) AS due FROM page WHERE due OR id = (SELECT max(id::text)::uuid FROM page) ORDER BY id";
        let binds = [
            ("company", Bind::Uuid(wanted.company.0)),
            ("after", Bind::Uuid(wanted.after)),
            ("version", Bind::Text(wanted.database_version.to_owned())),
            ("until", Bind::Time(wanted.scanned_until)),
            ("limit", Bind::BigInt(wanted.limit)),
        ];
        let found: Vec<Row> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files to scan"))?;
        let last = found.last().map(|row| row.id);
        let due = found.into_iter().filter(|row| row.due).map(|row| UploadId(row.id)).collect();
        Ok(last.map(|last| ScanPage { due, last }))
    })
}

/// Returns up to `limit` files of a company with these bytes whose last scan did not find them infected.
///
/// # Errors
/// [`ReadModelError`].
pub fn not_infected_with_same_bytes(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    sha256: Sha256Digest,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<FileId>, ReadModelError>> {
    Box::pin(async move {
        let text = "SELECT id FROM file f WHERE f.company_id = :company AND f.hash = :hash AND f.is_processed \
                AND f.purged_at IS NULL AND f.scan_verdict IS DISTINCT FROM 'INFECTED' ORDER BY id LIMIT :limit";
        let binds = [
            ("company", Bind::Uuid(company.0)),
            ("hash", Bind::Text(sha256.to_string())),
            ("limit", Bind::BigInt(limit)),
        ];
        let found: Vec<IdRow> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files with the same bytes"))?;
        Ok(found.into_iter().map(|file| UploadId(file.id)).collect())
    })
}

/// Returns up to 10 files of a company with these bytes that were scanned with this version of the signatures.
///
/// # Errors
/// [`ReadModelError`].
pub fn scanned_with_same_bytes<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    sha256: Sha256Digest,
    database_version: &'a str,
) -> BoxFuture<'a, Result<Vec<FileId>, ReadModelError>> {
    Box::pin(async move {
        let text = "SELECT id FROM file f WHERE f.company_id = :company AND f.hash = :hash \
                AND f.is_processed AND f.purged_at IS NULL AND f.scan->>'database_version' = :version ORDER BY id LIMIT 10";
        let binds = [
            ("company", Bind::Uuid(company.0)),
            ("hash", Bind::Text(sha256.to_string())),
            ("version", Bind::Text(database_version.to_owned())),
        ];
        let found: Vec<IdRow> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for a scan of the same bytes"))?;
        Ok(found.into_iter().map(|file| UploadId(file.id)).collect())
    })
}
