//! Lists of the files of a chatroom or thread.

use super::file::all_columns;
use super::filter::FileFilter;
use super::listing::{Listing, columns_sql};
use super::{Association, File};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use waybill_schema::{AccessType, CompanyId, Place, UserId};

/// The key of the association after which a page of a chatroom's or thread's files begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedKey {
    /// Pinned associations come first.
    pub is_pinned: bool,
    /// The association's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// Page of the files of a chatroom or thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SharedPage {
    /// The association after which the page begins, or `None` for the first page.
    pub after: Option<SharedKey>,
    /// `true` for the list from its end: the oldest files first, pinned files last.
    pub is_reversed: bool,
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
        type Columns = (AsSelect<File, Pg>, AsSelect<Association, Pg>);
        let listing = listing_of_place(company, place, filter, viewer, page)?;
        let operation = "listing the files of a chatroom or thread";
        let found: Vec<(File, Association)> = listing.load::<Columns, _>(connection, filter, operation).await?;
        Ok(found.into_iter().map(|(file, association)| SharedFile { file, association }).collect())
    })
}

fn listing_of_place(
    company: CompanyId,
    place: Place,
    filter: &FileFilter,
    viewer: Option<UserId>,
    page: SharedPage,
) -> Result<Listing, ReadModelError> {
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
            " AND (file.uploaded_by = :viewer OR ((b.access_type <> '{}' OR b.permissions -> 'users' -> :viewer_text IS NOT NULL) \
             AND coalesce(b.permissions -> 'users' -> :viewer_text, b.permissions -> 'everyone') IS DISTINCT FROM '[]'))",
            AccessType::Restricted.as_str()
        )
    });
    let (operator, direction) = if page.is_reversed { (">", "ASC") } else { ("<", "DESC") };
    let mut text = format!(
        "SELECT {}, {} FROM file_association JOIN file ON file.company_id = :company AND file.id = file_association.file_id \
         WHERE file_association.company_id = :company AND file_association.{column} = :place \
         AND file_association.revoked_at IS NULL \
         AND file_association.shared_seq > ({ended} WHERE r.company_id = :company AND r.id = :place) \
         AND (file_association.expires_at IS NULL OR file_association.expires_at > now()) AND file.deleted_at IS NULL \
         AND NOT EXISTS (SELECT FROM file_association b WHERE b.file_id = file_association.file_id AND b.company_id = :company \
             AND b.{column} = :place AND (b.is_pinned, b.created_at, b.id) > \
                 (file_association.is_pinned, file_association.created_at, file_association.id) \
             AND b.revoked_at IS NULL AND (b.expires_at IS NULL OR b.expires_at > now()) \
             AND b.shared_seq > ({ended} WHERE r.company_id = :company AND r.id = :place) \
             AND (b.thread_id IS NULL OR EXISTS (SELECT FROM thread t WHERE t.company_id = :company \
                 AND t.id = b.thread_id AND t.deleted_at IS NULL AND b.shared_seq > t.deleted_seq)){others})",
        columns_sql(File::as_select())?,
        columns_sql(Association::as_select())?,
    );
    let mut binds = vec![("company", Bind::Uuid(company.0)), ("place", Bind::Uuid(id))];
    filter.add_to(company, &mut text, &mut binds);
    if let Some(viewer) = viewer {
        text.push_str(&format!(
            " AND (file_association.access_type <> '{}' OR file_association.shared_by = :viewer \
             OR file.uploaded_by = :viewer OR file_association.permissions -> 'users' -> :viewer_text IS NOT NULL)",
            AccessType::Restricted.as_str()
        ));
        binds.extend([("viewer", Bind::Uuid(viewer.0)), ("viewer_text", Bind::Text(viewer.to_string()))]);
    }
    if let Some(after) = page.after {
        text.push_str(&format!(
            " AND (file_association.is_pinned, file_association.created_at, file_association.id) {operator} \
             (:after_pinned, :after_created, :after_id)"
        ));
        binds.extend([
            ("after_pinned", Bind::Bool(after.is_pinned)),
            ("after_created", Bind::Time(after.created_at)),
            ("after_id", Bind::Uuid(after.id)),
        ]);
    }
    text.push_str(&format!(
        " ORDER BY file_association.is_pinned {direction}, file_association.created_at {direction}, \
         file_association.id {direction}"
    ));
    Ok(Listing::new(text, binds, filter, !page.is_reversed, page.limit))
}

/// Returns the time at which the next association with a chatroom or thread expires. Until then, only events change the list of its files.
///
/// # Errors
/// [`ReadModelError`].
pub fn next_expiry(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    place: Place,
) -> BoxFuture<'_, Result<Option<DateTime<Utc>>, ReadModelError>> {
    Box::pin(async move {
        let (column, id) = match place {
            Place::Chatroom(id) => ("chatroom_id", id.0),
            Place::Thread(id) => ("thread_id", id.0),
        };
        let text = format!(
            "SELECT expires_at FROM file_association WHERE company_id = :company AND {column} = :place \
             AND expires_at > now() AND revoked_at IS NULL ORDER BY expires_at LIMIT 1"
        );
        let statement = Statement::new(&text, [("company", Bind::Uuid(company.0)), ("place", Bind::Uuid(id))]);
        let found: Option<Option<DateTime<Utc>>> = statement
            .typed::<(Nullable<Timestamptz>,)>()
            .get_result::<(Option<DateTime<Utc>>,)>(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("searching for the next association that expires"))?
            .map(|(at,)| at);
        Ok(found.flatten())
    })
}
