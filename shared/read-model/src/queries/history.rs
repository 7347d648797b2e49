//! Query for the history of a file.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use uuid::Uuid;
use waybill_schema::{CompanyId, Entity, FileId, ShareId, TokenId};

/// Returns the associations and the download tokens of a file, including those that have ended, oldest first. At most the
/// `limit` newest ones of each kind.
///
/// # Errors
/// [`ReadModelError`].
pub fn shares_and_tokens_of(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    file: FileId,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<Entity>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            id: Uuid,
            #[diesel(sql_type = diesel::sql_types::Bool)]
            is_token: bool,
        }
        let text = "SELECT s.id, s.is_token FROM (\
                (SELECT a.id, a.created_at, false AS is_token FROM file_association a \
                    WHERE a.file_id = :file AND a.company_id = :company ORDER BY a.created_at DESC, a.id DESC LIMIT :limit) \
                UNION ALL \
                (SELECT t.id, t.created_at, true AS is_token FROM download_token t \
                    WHERE t.file_id = :file AND t.company_id = :company ORDER BY t.created_at DESC, t.id DESC LIMIT :limit)\
                ) s ORDER BY s.created_at, s.id";
        let binds = [("file", Bind::Uuid(file.0)), ("company", Bind::Uuid(company.0)), ("limit", Bind::BigInt(limit))];
        let found: Vec<Found> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for the associations and tokens of a file"))?;
        let entity = |Found { id, is_token }: Found| {
            if is_token { Entity::Token(TokenId(id)) } else { Entity::Share(ShareId(id)) }
        };
        Ok(found.into_iter().map(entity).collect())
    })
}
