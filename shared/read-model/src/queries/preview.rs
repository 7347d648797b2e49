//! Previews of a file: the JSON in `file.preview`, which clients get unchanged.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::events::{PreviewFailed, PreviewsMade};
use waybill_schema::{CompanyId, FileId, PreviewFailure, StoredVariant, UploadId, Variant};

/// Previews of a file, and facts about its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// Id of this set of previews.
    pub set: Option<Uuid>,
    /// The previews. `GET /v1/files/{id}/variants/{name}` returns one. Empty if none could be made.
    pub variants: Vec<ShownVariant>,
    /// ThumbHash of the picture in Base64: a placeholder of about 25 bytes that clients can show at once.
    pub thumbhash: Option<String>,
    /// Width of the original: in pixels as a viewer shows it, or in points (1/72 inch) for the first page of a PDF.
    pub width: Option<u32>,
    /// Height of the original, in the unit of the width.
    pub height: Option<u32>,
    /// Number of pages of a document.
    pub page_count: Option<u32>,
    /// Duration of a video in milliseconds.
    pub duration_ms: Option<u64>,
    /// Reason why there are no previews: `unsupported`, `damaged`, `too_large`, `limits_exceeded` or `failed`.
    #[schema(value_type = Option<String>)]
    pub failure: Option<PreviewFailure>,
    /// Time at which the previews were made, or could not be made.
    pub made_at: DateTime<Utc>,
}

/// A preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownVariant {
    /// `preview-256` or `preview-1024`. The number is the largest length of the longer side.
    #[schema(value_type = String)]
    pub name: Variant,
    /// `image/jpeg`, or `image/png` if it has transparent pixels.
    pub mime_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl From<&StoredVariant> for ShownVariant {
    fn from(stored: &StoredVariant) -> Self {
        Self {
            name: stored.variant,
            mime_type: stored.mime_type.clone(),
            width: stored.width,
            height: stored.height,
            size_bytes: stored.size_bytes,
        }
    }
}

impl Preview {
    /// Returns the previews of an event that was recorded at `time`.
    pub fn of(made: &PreviewsMade, time: DateTime<Utc>) -> Self {
        Self {
            set: Some(made.set),
            variants: made.variants.iter().map(Into::into).collect(),
            thumbhash: Some(STANDARD.encode(&made.thumbhash)),
            width: Some(made.facts.width),
            height: Some(made.facts.height),
            page_count: made.facts.page_count,
            duration_ms: made.facts.duration_ms,
            failure: None,
            made_at: time,
        }
    }

    /// Returns the value of a file whose previews could not be made at `time`.
    pub fn failed(failed: &PreviewFailed, time: DateTime<Utc>) -> Self {
        Self { failure: Some(failed.reason), made_at: time, ..Self::default() }
    }

    /// Reads the value of the column.
    ///
    /// # Errors
    /// If the JSON is not a value of this type.
    pub fn parse(json: serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(json)
    }
}

/// Files of a page that may need previews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewPage {
    /// The files without previews.
    pub due: Vec<FileKey>,
    /// The last file of the page.
    pub last: FileKey,
}

/// A file and its company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey {
    /// The company of the file.
    pub company_id: CompanyId,
    /// Id of the file.
    pub file_id: FileId,
}

/// Row of a query that selects only the key of a file.
#[derive(QueryableByName)]
pub(super) struct KeyRow {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    company_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
}

impl From<KeyRow> for FileKey {
    fn from(KeyRow { company_id, id }: KeyRow) -> Self {
        Self { company_id: CompanyId(company_id), file_id: UploadId(id) }
    }
}

/// Row of a query that selects only an id.
#[derive(QueryableByName)]
pub(super) struct IdRow {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    pub(super) id: Uuid,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    company_id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Uuid)]
    id: Uuid,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    due: bool,
}

impl Row {
    fn key(&self) -> FileKey {
        FileKey { company_id: CompanyId(self.company_id), file_id: UploadId(self.id) }
    }
}

/// Condition on a company `c` whose policy removes the metadata of pictures. The rule is that of
/// `waybill_domain::directory::CompanyRules::strip_location`.
const STRIPS: &str = "(c.strip_location = 'for_others' OR c.limits->>'strip_location' = 'for_others')";

/// Returns the files without previews among the next `limit` files after `after`, ordered by company and id; `None` after the
/// last file. Also those whose metadata was not looked at although their company wants it. With `again`, also those whose previews
/// could not be made. The events of each file decide whether it gets
/// previews.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_preview(
    connection: &mut AsyncPgConnection,
    after: FileKey,
    again: bool,
    limit: i64,
) -> BoxFuture<'_, Result<Option<PreviewPage>, ReadModelError>> {
    Box::pin(async move {
        // Reads a bounded number of rows, however few of them are due. A client may not have said the type.
        let text = format!(
            "SELECT f.company_id, f.id, f.is_processed AND f.purged_at IS NULL AND f.deleted_at IS NULL \
                AND (((f.mime_type LIKE 'image/%' OR f.mime_type LIKE 'video/%' \
                        OR f.mime_type IN ('application/pdf', 'application/octet-stream')) \
                    AND (f.preview IS NULL OR (:again AND f.preview->>'failure' IS NOT NULL))) \
                  OR (f.location IS NULL AND EXISTS (SELECT FROM company c WHERE c.id = f.company_id AND {STRIPS}))) AS due \
                FROM file f WHERE (f.company_id, f.id) > (:company, :file) ORDER BY f.company_id, f.id LIMIT :limit"
        );
        let binds = [
            ("company", Bind::Uuid(after.company_id.0)),
            ("file", Bind::Uuid(after.file_id.0)),
            ("again", Bind::Bool(again)),
            ("limit", Bind::BigInt(limit)),
        ];
        let found: Vec<Row> = Statement::new(&text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files without previews"))?;
        let due = found.iter().filter(|row| row.due).map(Row::key).collect();
        Ok(found.last().map(|row| PreviewPage { due, last: row.key() }))
    })
}

/// Returns up to `limit` pictures and documents after `after`, ordered by company and id, that have no previews and were created
/// before `until`. There are few of them, because newer files get their previews with an event.
///
/// # Errors
/// [`ReadModelError`].
pub fn overdue_previews(
    connection: &mut AsyncPgConnection,
    after: FileKey,
    until: DateTime<Utc>,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<FileKey>, ReadModelError>> {
    Box::pin(async move {
        // The conditions are those of the index `file_without_preview`.
        let text = "SELECT company_id, id FROM file WHERE preview IS NULL AND is_processed AND purged_at IS NULL \
                AND deleted_at IS NULL \
                AND mime_type IN ('application/pdf', 'image/gif', 'image/jpeg', 'image/png', 'image/webp') \
                AND created_at < :until AND (company_id, id) > (:company, :file) ORDER BY company_id, id LIMIT :limit";
        let binds = [
            ("company", Bind::Uuid(after.company_id.0)),
            ("file", Bind::Uuid(after.file_id.0)),
            ("until", Bind::Time(until)),
            ("limit", Bind::BigInt(limit)),
        ];
        let found: Vec<KeyRow> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for overdue previews"))?;
        Ok(found.into_iter().map(FileKey::from).collect())
    })
}

/// Returns the next company after `after` whose policy removes the metadata of pictures.
///
/// # Errors
/// [`ReadModelError`].
pub fn next_company_that_strips(
    connection: &mut AsyncPgConnection,
    after: CompanyId,
) -> BoxFuture<'_, Result<Option<CompanyId>, ReadModelError>> {
    Box::pin(async move {
        let text = format!("SELECT c.id FROM company c WHERE {STRIPS} AND c.id > :after ORDER BY c.id LIMIT 1");
        let found: Vec<IdRow> = Statement::new(&text, [("after", Bind::Uuid(after.0))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for companies that remove metadata"))?;
        Ok(found.into_iter().next().map(|row| CompanyId(row.id)))
    })
}

/// Returns up to `limit` pictures, documents and videos of a company after `after` that were created before `until` and whose metadata
/// was not looked at. There are few of them, except after a company has changed its policy.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_strip(
    connection: &mut AsyncPgConnection,
    after: FileKey,
    until: DateTime<Utc>,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<FileId>, ReadModelError>> {
    Box::pin(async move {
        // The conditions are those of the index `file_with_location`.
        let text = "SELECT id FROM file WHERE company_id = :company AND location IS NULL AND is_processed \
                AND purged_at IS NULL AND deleted_at IS NULL \
                AND (preview IS NOT NULL OR mime_type LIKE 'image/%' OR mime_type LIKE 'video/%') \
                AND storage_tier <> 'archive' AND created_at < :until AND id > :file ORDER BY id LIMIT :limit";
        let binds = [
            ("company", Bind::Uuid(after.company_id.0)),
            ("file", Bind::Uuid(after.file_id.0)),
            ("until", Bind::Time(until)),
            ("limit", Bind::BigInt(limit)),
        ];
        let found: Vec<IdRow> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files whose metadata was not looked at"))?;
        Ok(found.into_iter().map(|row| UploadId(row.id)).collect())
    })
}
