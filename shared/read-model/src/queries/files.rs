//! Files: one, and pages of them.

use crate::{ReadModelError, schema::file};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use uuid::Uuid;
use waybill_schema::{ChatroomId, CompanyId, FileId, ThreadId, UserId};

/// A file, as clients see it. Sizes in bytes.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = file)]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct File {
    pub id: Uuid,
    pub company_id: Uuid,
    pub thread_id: Option<Uuid>,
    pub chatroom_id: Option<Uuid>,
    pub uploaded_by: Uuid,
    pub original_name: String,
    pub display_name: Option<String>,
    pub mime_type: String,
    pub size_bytes: i64,
    pub hash: Option<String>,
    #[serde(skip)]
    pub storage_key: Option<String>,
    #[serde(skip)]
    pub storage_bucket: Option<String>,
    pub download_url: Option<String>,
    pub metadata: Option<serde_json::Value>,
    pub is_processed: bool,
    pub processing_status: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Where a page of files begins: behind the file with this time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageKey {
    /// The file's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// Which files are wanted.
#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    /// Those that this user uploaded.
    pub uploaded_by: Option<UserId>,
    /// Those of this chatroom.
    pub chatroom_id: Option<ChatroomId>,
    /// Those of this thread.
    pub thread_id: Option<ThreadId>,
    /// Those with this `processing_status`.
    pub processing_status: Option<String>,
}

/// One file; a deleted one too.
///
/// # Errors
/// [`ReadModelError`].
pub async fn find_file(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: FileId,
) -> Result<Option<File>, ReadModelError> {
    file::table
        .filter(file::company_id.eq(company.0).and(file::id.eq(id.0)))
        .select(File::as_select())
        .first(connection)
        .await
        .optional()
        .map_err(ReadModelError::query("finding a file"))
}

/// Up to `limit` files that are not deleted, newest first, behind `after`.
///
/// # Errors
/// [`ReadModelError`].
pub async fn list_files(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    filter: &FileFilter,
    after: Option<PageKey>,
    limit: i64,
) -> Result<Vec<File>, ReadModelError> {
    let mut query = file::table
        .filter(file::company_id.eq(company.0).and(file::deleted_at.is_null()))
        .select(File::as_select())
        .order((file::created_at.desc(), file::id.desc()))
        .limit(limit)
        .into_boxed();
    if let Some(user) = filter.uploaded_by {
        query = query.filter(file::uploaded_by.eq(user.0));
    }
    if let Some(chatroom) = filter.chatroom_id {
        query = query.filter(file::chatroom_id.eq(chatroom.0));
    }
    if let Some(thread) = filter.thread_id {
        query = query.filter(file::thread_id.eq(thread.0));
    }
    if let Some(status) = &filter.processing_status {
        query = query.filter(file::processing_status.eq(status));
    }
    if let Some(key) = after {
        query = query.filter(
            file::created_at.lt(key.created_at).or(file::created_at.eq(key.created_at).and(file::id.lt(key.id))),
        );
    }
    query.load(connection).await.map_err(ReadModelError::query("listing files"))
}
