//! Associations of files with chatrooms and threads.

use crate::statement::{Bind, Statement};
use crate::{ReadModelError, schema::file_association};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::Json;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{AccessType, CompanyId, FileId, UserId};

/// An association of a file with a chatroom or thread, as clients see it.
#[derive(Clone, Debug, Deserialize, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = file_association, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct Association {
    pub id: Uuid,
    pub file_id: Uuid,
    pub chatroom_id: Option<Uuid>,
    pub thread_id: Option<Uuid>,
    pub shared_by: Uuid,
    #[diesel(deserialize_as = String)]
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
