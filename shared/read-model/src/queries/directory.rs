//! Queries for users and memberships of the directory.

use crate::ids::id_of_member;
use crate::statement::{Bind, Statement};
use crate::{ReadModelError, schema::user};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use waybill_schema::{CompanyId, FileId, Place, UserId};

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

/// Returns `true` if the user was a member of one of the places at any time since the file was created.
///
/// # Errors
/// [`ReadModelError`].
pub fn was_member_since<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    user: UserId,
    file: FileId,
    places: &'a [Place],
) -> BoxFuture<'a, Result<bool, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::Bool)]
            found: bool,
        }
        let text = "SELECT EXISTS (SELECT 1 FROM member m WHERE m.company_id = :company AND m.id = ANY(:ids) \
                AND (m.removed_at IS NULL OR m.removed_at >= coalesce( \
                (SELECT f.created_at FROM file f WHERE f.company_id = :company AND f.id = :file), '-infinity'))) \
                AS found";
        let ids = places.iter().map(|place| id_of_member(company, *place, user)).collect();
        let binds = [("company", Bind::Uuid(company.0)), ("file", Bind::Uuid(file.0)), ("ids", Bind::Uuids(ids))];
        let found: Found = Statement::new(text, binds)
            .get_result(connection)
            .await
            .map_err(ReadModelError::query("finding an earlier membership"))?;
        Ok(found.found)
    })
}
