//! Queries for single files and for lists of files.

use super::File;
use super::filter::FileFilter;
use super::listing::{columns_sql, load_listing, rows_read};
use super::order::{ListKey, Order};
use crate::statement::{Bind, Statement};
use crate::{ReadModelError, schema::file};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::Serialize;
use uuid::Uuid;
use waybill_schema::{CompanyId, FileId};

/// The key after which a page of a list begins that is sorted by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PageKey {
    /// The entry's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// Page of the files of a user or of a company.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OwnPage {
    /// Order of the list.
    pub order: Order,
    /// The file after which the page begins, or `None` for the first page.
    pub after: Option<ListKey>,
    /// Maximum number of files.
    pub limit: i64,
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

/// Returns a page of files that are not deleted.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_files<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    filter: &'a FileFilter,
    page: OwnPage,
) -> BoxFuture<'a, Result<Vec<File>, ReadModelError>> {
    Box::pin(async move {
        let limit = page.limit;
        let statement = files_statement(company, filter, page)?.typed::<diesel::dsl::AsSelect<File, Pg>>();
        load_listing(connection, statement, filter, limit, "listing files").await
    })
}

/// Returns the statement of [`list_files`].
pub(super) fn files_statement(
    company: CompanyId,
    filter: &FileFilter,
    page: OwnPage,
) -> Result<Statement, ReadModelError> {
    let OwnPage { order, after, limit } = page;
    let columns = columns_sql(File::as_select())?;
    let mut text = format!("SELECT {columns} FROM file WHERE file.company_id = :company AND file.deleted_at IS NULL");
    let mut binds = vec![("company", Bind::Uuid(company.0))];
    if let Some(user) = filter.uploaded_by {
        text.push_str(" AND file.uploaded_by = :uploaded_by");
        binds.push(("uploaded_by", Bind::Uuid(user.0)));
    }
    filter.add_to(company, &mut text, &mut binds);
    if let Some(key) = after {
        let (condition, values) = order.after(key);
        text.push_str(" AND ");
        text.push_str(&condition);
        binds.extend(values);
    }
    text.push_str(&order.clause());
    text.push_str(&format!(" LIMIT {}", rows_read(limit)));
    Ok(Statement::new(&text, binds))
}
