//! Query for the quota of a company.

use crate::{ReadModelError, schema::storage_quota};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::Serialize;
use uuid::Uuid;
use waybill_schema::CompanyId;

/// The quota of a company, as clients see it. Sizes are in bytes.
#[derive(Clone, Debug, Queryable, Selectable, Serialize)]
#[diesel(table_name = storage_quota)]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct Quota {
    pub id: Uuid,
    pub company_id: Uuid,
    pub storage_limit_bytes: i64,
    pub storage_used_bytes: i64,
    pub storage_reserved_bytes: i64,
    pub file_count: i32,
    pub last_calculated_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Returns the quota of a company, or `None` if no limit was set yet.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_quota(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> BoxFuture<'_, Result<Option<Quota>, ReadModelError>> {
    Box::pin(async move {
        storage_quota::table
            .filter(storage_quota::company_id.eq(company.0))
            .select(Quota::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("finding a quota"))
    })
}
