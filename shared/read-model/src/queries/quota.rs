//! Query for the quota of a company.

use crate::ReadModelError;
use crate::rows::StorageQuotaRow;
use crate::schema::storage_quota;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use waybill_schema::CompanyId;

/// Returns the quota of a company, or `None` if no limit was set yet.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_quota(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> BoxFuture<'_, Result<Option<StorageQuotaRow>, ReadModelError>> {
    Box::pin(async move {
        storage_quota::table
            .filter(storage_quota::company_id.eq(company.0))
            .select(StorageQuotaRow::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("finding a quota"))
    })
}
