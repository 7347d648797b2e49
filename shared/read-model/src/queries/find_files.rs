//! Lookup of several files at once.

use super::File;
use crate::{ReadModelError, schema::file};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_schema::{CompanyId, FileId};

/// Returns the files with these ids, even if they are deleted.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_files<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    ids: &'a [FileId],
) -> BoxFuture<'a, Result<Vec<File>, ReadModelError>> {
    Box::pin(async move {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        file::table
            .filter(file::company_id.eq(company.0).and(file::id.eq_any(ids)))
            .select(File::as_select())
            .load(connection)
            .await
            .map_err(ReadModelError::query("finding files"))
    })
}
