//! Queries for upload sessions and the progress of uploads.

use super::{Planning, load_planned};
use crate::ReadModelError;
use crate::rows::UploadSessionRow;
use crate::schema::{file, partial_upload, upload_progress, upload_session};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{CompanyId, SessionId, UploadId, UploadStatus};

/// Maximum number of uploads in a list.
const FILES_LISTED: i64 = 1_000;

/// The progress of an upload, as clients see it.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = upload_progress, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct UploadProgress {
    pub id: Uuid,
    pub upload_session_id: Option<Uuid>,
    pub file_id: Uuid,
    pub user_id: Uuid,
    #[diesel(deserialize_as = String)]
    #[schema(value_type = String)]
    pub status: UploadStatus,
    pub progress_percentage: i32,
    pub bytes_uploaded: i64,
    pub total_bytes: i64,
    pub upload_speed: i64,
    pub estimated_time_remaining: Option<i32>,
    pub current_chunk: i32,
    pub total_chunks: i32,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub last_updated_at: DateTime<Utc>,
}

impl UploadProgress {
    fn of_whole(id: UploadId, user_id: Uuid, size_bytes: i64, time: DateTime<Utc>) -> Self {
        let chunks = i32::from(size_bytes > 0);
        Self {
            id: id.0,
            upload_session_id: None,
            file_id: id.0,
            user_id,
            status: UploadStatus::Completed,
            progress_percentage: 100,
            bytes_uploaded: size_bytes,
            total_bytes: size_bytes,
            upload_speed: 0,
            estimated_time_remaining: Some(0),
            current_chunk: chunks,
            total_chunks: chunks,
            error_code: None,
            error_message: None,
            started_at: time,
            completed_at: Some(time),
            last_updated_at: time,
        }
    }
}

/// Returns a session.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_session(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: SessionId,
) -> BoxFuture<'_, Result<Option<UploadSessionRow>, ReadModelError>> {
    Box::pin(async move {
        upload_session::table
            .filter(upload_session::company_id.eq(company.0).and(upload_session::id.eq(id.0)))
            .select(UploadSessionRow::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("finding a session"))
    })
}

/// Returns the uploads of a session, ordered by their start; at most 1,000.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_session_files(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: SessionId,
) -> BoxFuture<'_, Result<Vec<UploadProgress>, ReadModelError>> {
    Box::pin(async move {
        upload_progress::table
            .filter(upload_progress::company_id.eq(company.0).and(upload_progress::upload_session_id.eq(id.0)))
            .select(UploadProgress::as_select())
            .order((upload_progress::started_at, upload_progress::id))
            .limit(FILES_LISTED)
            .load(connection)
            .await
            .map_err(ReadModelError::query("listing the files of a session"))
    })
}

/// Returns the uploads of a session that have not ended, including partial uploads.
///
/// # Errors
/// [`ReadModelError`].
pub fn unfinished_uploads(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: SessionId,
) -> BoxFuture<'_, Result<Vec<UploadId>, ReadModelError>> {
    Box::pin(async move {
        let operation = "listing the running uploads of a session";
        let mut ids: Vec<Uuid> = upload_progress::table
            .filter(upload_progress::company_id.eq(company.0).and(upload_progress::upload_session_id.eq(id.0)))
            .filter(upload_progress::status.eq_any(UploadStatus::RUNNING.map(UploadStatus::as_str)))
            .select(upload_progress::id)
            .load(connection)
            .await
            .map_err(ReadModelError::query(operation))?;
        let partials: Vec<Uuid> = partial_upload::table
            .filter(partial_upload::company_id.eq(company.0).and(partial_upload::upload_session_id.eq(id.0)))
            .filter(partial_upload::has_ended.eq(false))
            .select(partial_upload::id)
            .load(connection)
            .await
            .map_err(ReadModelError::query(operation))?;
        ids.extend(partials);
        Ok(ids.into_iter().map(UploadId).collect())
    })
}

/// Returns the progress of an upload. A file that was uploaded whole and outside a session has no row in
/// `upload_progress`; its progress is derived from its row in `file`.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_progress(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: UploadId,
) -> BoxFuture<'_, Result<Option<UploadProgress>, ReadModelError>> {
    Box::pin(async move {
        let operation = "finding an upload's progress";
        let found: Option<UploadProgress> = upload_progress::table
            .filter(upload_progress::company_id.eq(company.0).and(upload_progress::id.eq(id.0)))
            .select(UploadProgress::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query(operation))?;
        if found.is_some() {
            return Ok(found);
        }
        let whole: Option<(Uuid, i64, DateTime<Utc>)> = file::table
            .filter(file::company_id.eq(company.0).and(file::id.eq(id.0)).and(file::is_processed))
            .select((file::uploaded_by, file::size_bytes, file::created_at))
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query(operation))?;
        Ok(whole.map(|(user_id, size_bytes, time)| UploadProgress::of_whole(id, user_id, size_bytes, time)))
    })
}

/// Returns the running uploads of a company; at most 1,000.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_running(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> BoxFuture<'_, Result<Vec<UploadProgress>, ReadModelError>> {
    Box::pin(async move {
        let running = upload_progress::table
            .filter(upload_progress::company_id.eq(company.0))
            .filter(upload_progress::status.eq_any(UploadStatus::RUNNING.map(UploadStatus::as_str)))
            .select(UploadProgress::as_select())
            .order((upload_progress::started_at, upload_progress::id))
            .limit(FILES_LISTED);
        load_planned(connection, running, Planning::ForValues, None, "listing running uploads").await
    })
}
