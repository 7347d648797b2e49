//! Query for users of the directory.

use crate::{ReadModelError, schema::user};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use waybill_schema::{CompanyId, UserId};

/// Returns `true` if a user is registered in a company and was not removed.
///
/// # Errors
/// [`ReadModelError`].
pub fn is_user_known(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: UserId,
) -> BoxFuture<'_, Result<bool, ReadModelError>> {
    Box::pin(async move {
        let known =
            user::table.filter(user::company_id.eq(company.0).and(user::id.eq(id.0)).and(user::deleted_at.is_null()));
        diesel::select(diesel::dsl::exists(known))
            .get_result(connection)
            .await
            .map_err(ReadModelError::query("finding a user"))
    })
}
