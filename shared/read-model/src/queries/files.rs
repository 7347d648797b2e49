//! Queries for single files and for lists of files.

use super::File;
use super::filter::FileFilter;
use super::listing::{Listing, columns_sql};
use super::order::{ListKey, Order};
use crate::statement::Bind;
use crate::{ReadModelError, schema::file};
use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::Serialize;
use waybill_schema::{CompanyId, FileId};

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
        let listing = listing_of_files(company, filter, page)?;
        listing.load::<AsSelect<File, Pg>, _>(connection, filter, "listing files").await
    })
}

fn listing_of_files(company: CompanyId, filter: &FileFilter, page: OwnPage) -> Result<Listing, ReadModelError> {
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
    Ok(Listing::new(text, binds, filter, order == Order::default(), limit))
}
