//! Queries for single files and for listings of files and associations.

use super::file::all_columns;
use super::filter::FileFilter;
use super::{File, load_for_values};
use crate::statement::{Bind, Statement};
use crate::{ReadModelError, schema::file};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Json};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{AccessType, CompanyId, FileId, Place, UserId};

/// The key of the file after which a page of files begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PageKey {
    /// The file's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// Returns a file, even if it is deleted.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_file(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: FileId,
) -> BoxFuture<'_, Result<Option<File>, ReadModelError>> {
    Box::pin(async move {
        file::table
            .filter(file::company_id.eq(company.0).and(file::id.eq(id.0)))
            .select(File::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("finding a file"))
    })
}

/// Returns up to `limit` files after `after` that are not deleted, newest first.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_files<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    filter: &'a FileFilter,
    after: Option<PageKey>,
    limit: i64,
) -> BoxFuture<'a, Result<Vec<File>, ReadModelError>> {
    Box::pin(async move {
        let mut query = file::table
            .filter(file::company_id.eq(company.0).and(file::deleted_at.is_null()))
            .select(File::as_select())
            .order((file::created_at.desc(), file::id.desc()))
            .limit(limit)
            .into_boxed();
        if let Some(user) = filter.uploaded_by {
            query = query.filter(file::uploaded_by.eq(user.0));
        }
        if let Some(pattern) = filter.name_pattern() {
            query = query.filter(file::search_name.like(pattern));
        }
        if let Some(pattern) = filter.type_pattern() {
            query = query.filter(file::mime_type.like(pattern));
        }
        if let Some(term) = filter.term(company) {
            query = query.filter(file::terms.contains(term));
        }
        if let Some(condition) = filter.status_condition() {
            query = query.filter(sql::<Bool>(&condition.replace("f.", "file.")));
        }
        if let Some(verdict) = filter.verdict {
            query = query.filter(file::scan_verdict.eq(verdict.as_str()));
        }
        if let Some(tier) = filter.storage_tier {
            query = query.filter(file::storage_tier.eq(tier.as_str()));
        }
        if let Some(condition) = filter.preview_condition() {
            query = query.filter(sql::<Bool>(&condition.replace("f.", "file.")));
        }
        if let Some(key) = after {
            query = query.filter(
                file::created_at.lt(key.created_at).or(file::created_at.eq(key.created_at).and(file::id.lt(key.id))),
            );
        }
        load_for_values(connection, query, filter.timeout(), "listing files").await
    })
}

/// An association of a file with a chatroom or thread, as clients see it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct Association {
    pub id: Uuid,
    pub file_id: Uuid,
    pub chatroom_id: Option<Uuid>,
    pub thread_id: Option<Uuid>,
    pub shared_by: Uuid,
    #[schema(value_type = String)]
    pub access_type: AccessType,
    #[schema(value_type = Option<Object>)]
    pub permissions: Option<serde_json::Value>,
    pub expires_at: Option<DateTime<Utc>>,
    pub is_pinned: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Association {
    /// Removes all users but this one from the permissions. Users who cannot change an association do not see who else
    /// is named.
    pub fn name_only(&mut self, user: UserId) {
        let users = self.permissions.as_mut().and_then(|permissions| permissions.get_mut("users"));
        if let Some(users) = users.and_then(serde_json::Value::as_object_mut) {
            let own = user.to_string();
            users.retain(|named, _| *named == own);
        }
    }
}

/// The key of the association after which a page of a chatroom's or thread's files begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SharedKey {
    /// Pinned associations come first.
    pub is_pinned: bool,
    /// The association's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// Page of the files of a chatroom or thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPage {
    /// The association after which the page begins, or `None` for the first page.
    pub after: Option<SharedKey>,
    /// Maximum number of files.
    pub limit: i64,
}

/// A file in a chatroom or thread.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SharedFile {
    /// The file. It is serialized with all columns.
    #[serde(serialize_with = "all_columns")]
    pub file: File,
    /// The association of the file with the chatroom or thread.
    pub association: Association,
}

/// Returns a page of the files of a chatroom or thread that are not deleted: pinned files first, then the
/// newest. Each file is included once. A RESTRICTED file is included only if `viewer` is one of its named users, has shared it or has uploaded it.
/// If `viewer` is `None`, all files are included.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_shared<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    place: Place,
    filter: &'a FileFilter,
    viewer: Option<UserId>,
    page: SharedPage,
) -> BoxFuture<'a, Result<Vec<SharedFile>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Json)]
            found: serde_json::Value,
        }
        let operation = "listing the files of a chatroom or thread";
        let statement = shared_statement(company, place, filter, viewer, page);
        let found: Vec<Found> = load_for_values(connection, statement, filter.timeout(), operation).await?;
        let files = found.into_iter().map(|row| serde_json::from_value(row.found));
        files.collect::<Result<_, _>>().map_err(ReadModelError::row(operation))
    })
}

/// Returns the statement of [`list_shared`].
pub(super) fn shared_statement(
    company: CompanyId,
    place: Place,
    filter: &FileFilter,
    viewer: Option<UserId>,
    page: SharedPage,
) -> Statement {
    let (column, id, ended) = match place {
        Place::Chatroom(id) => ("chatroom_id", id.0, "SELECT r.deleted_seq FROM chatroom r"),
        Place::Thread(id) => (
            "thread_id",
            id.0,
            "SELECT greatest(r.deleted_seq, coalesce(c.deleted_seq, 0)) FROM thread r \
             LEFT JOIN chatroom c ON c.company_id = r.company_id AND c.id = r.chatroom_id",
        ),
    };
    // The list shows a file through the first association that shows it to the viewer.
    let others = viewer.map_or_else(String::new, |_| {
        format!(
            " AND (f.uploaded_by = :viewer OR ((b.access_type <> '{}' OR b.permissions -> 'users' -> :viewer_text IS NOT NULL) \
             AND coalesce(b.permissions -> 'users' -> :viewer_text, b.permissions -> 'everyone') IS DISTINCT FROM '[]'))",
            AccessType::Restricted.as_str()
        )
    });
    let mut text = format!(
        "SELECT json_build_object('file', row_to_json(f), 'association', row_to_json(a)) AS found \
         FROM file_association a JOIN file f ON f.company_id = :company AND f.id = a.file_id \
         WHERE a.company_id = :company AND a.{column} = :place AND a.revoked_at IS NULL \
         AND a.shared_seq > ({ended} WHERE r.company_id = :company AND r.id = :place) \
         AND (a.expires_at IS NULL OR a.expires_at > now()) AND f.deleted_at IS NULL \
         AND NOT EXISTS (SELECT FROM file_association b WHERE b.file_id = a.file_id AND b.company_id = :company \
             AND b.{column} = :place AND (b.is_pinned, b.created_at, b.id) > (a.is_pinned, a.created_at, a.id) \
             AND b.revoked_at IS NULL AND (b.expires_at IS NULL OR b.expires_at > now()) \
             AND b.shared_seq > ({ended} WHERE r.company_id = :company AND r.id = :place) \
             AND (b.thread_id IS NULL OR EXISTS (SELECT FROM thread t WHERE t.company_id = :company \
                 AND t.id = b.thread_id AND t.deleted_at IS NULL AND b.shared_seq > t.deleted_seq)){others})"
    );
    let mut binds =
        vec![("company", Bind::Uuid(company.0)), ("place", Bind::Uuid(id)), ("limit", Bind::BigInt(page.limit))];
    let mut and = |condition: &str, more: Vec<(&'static str, Bind)>| {
        text.push_str(" AND ");
        text.push_str(condition);
        binds.extend(more);
    };
    if let Some(condition) = filter.status_condition() {
        and(&condition, vec![]);
    }
    if let Some(verdict) = filter.verdict {
        and("f.scan_verdict = :verdict", vec![("verdict", Bind::Text(verdict.as_str().to_owned()))]);
    }
    if let Some(tier) = filter.storage_tier {
        and("f.storage_tier = :tier", vec![("tier", Bind::Text(tier.as_str().to_owned()))]);
    }
    if let Some(condition) = filter.preview_condition() {
        and(condition, vec![]);
    }
    if let Some(pattern) = filter.name_pattern() {
        and("f.search_name LIKE :name", vec![("name", Bind::Text(pattern))]);
    }
    if let Some(pattern) = filter.type_pattern() {
        and("f.mime_type LIKE :type", vec![("type", Bind::Text(pattern))]);
    }
    if let Some(term) = filter.term(company) {
        and("f.terms @> :term::jsonb", vec![("term", Bind::Text(term.to_string()))]);
    }
    if let Some(viewer) = viewer {
        let condition = format!(
            "(a.access_type <> '{}' OR a.shared_by = :viewer OR f.uploaded_by = :viewer \
             OR a.permissions -> 'users' -> :viewer_text IS NOT NULL)",
            AccessType::Restricted.as_str()
        );
        and(&condition, vec![("viewer", Bind::Uuid(viewer.0)), ("viewer_text", Bind::Text(viewer.to_string()))]);
    }
    if let Some(after) = page.after {
        let key = vec![
            ("after_pinned", Bind::Bool(after.is_pinned)),
            ("after_created", Bind::Time(after.created_at)),
            ("after_id", Bind::Uuid(after.id)),
        ];
        and("(a.is_pinned, a.created_at, a.id) < (:after_pinned, :after_created, :after_id)", key);
    }
    text.push_str(" ORDER BY a.is_pinned DESC, a.created_at DESC, a.id DESC LIMIT :limit");
    Statement::new(&text, binds)
}

/// Returns the number of associations of a file that have not ended. Counts up to `limit`.
///
/// # Errors
/// [`ReadModelError`].
pub fn count_associations(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    file: FileId,
    limit: u32,
) -> BoxFuture<'_, Result<u32, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            live: i64,
        }
        let text = "SELECT count(*) AS live FROM (SELECT FROM file_association a \
                LEFT JOIN chatroom r ON r.company_id = a.company_id AND r.id = a.chatroom_id \
                LEFT JOIN thread t ON t.company_id = a.company_id AND t.id = a.thread_id \
                WHERE a.file_id = :file AND a.company_id = :company AND a.revoked_at IS NULL \
                AND (a.expires_at IS NULL OR a.expires_at > now()) \
                AND (a.chatroom_id IS NULL OR (r.deleted_at IS NULL AND a.shared_seq > r.deleted_seq)) \
                AND (a.thread_id IS NULL OR (t.deleted_at IS NULL AND a.shared_seq > t.deleted_seq)) LIMIT :limit) a";
        let limit = Bind::BigInt(i64::from(limit));
        let binds = [("file", Bind::Uuid(file.0)), ("company", Bind::Uuid(company.0)), ("limit", limit)];
        let found: Found = Statement::new(text, binds)
            .get_result(connection)
            .await
            .map_err(ReadModelError::query("counting the associations of a file"))?;
        Ok(u32::try_from(found.live).unwrap_or(u32::MAX))
    })
}

/// Returns the associations of a file that were not revoked, oldest first.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_associations(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    file: FileId,
) -> BoxFuture<'_, Result<Vec<Association>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Json)]
            found: serde_json::Value,
        }
        let operation = "listing the associations of a file";
        let text = "SELECT row_to_json(a) AS found FROM file_association a \
                WHERE a.file_id = :file AND a.company_id = :company AND a.revoked_at IS NULL ORDER BY a.created_at, a.id";
        let binds = [("file", Bind::Uuid(file.0)), ("company", Bind::Uuid(company.0))];
        let found: Vec<Found> =
            Statement::new(text, binds).load(connection).await.map_err(ReadModelError::query(operation))?;
        let associations = found.into_iter().map(|row| serde_json::from_value(row.found));
        associations.collect::<Result<_, _>>().map_err(ReadModelError::row(operation))
    })
}
