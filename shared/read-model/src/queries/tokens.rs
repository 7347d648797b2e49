//! Query for download tokens.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Json;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{CompanyId, FileId, UserId};

/// A download token, as clients see it: without the secret.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct DownloadToken {
    pub id: Uuid,
    pub file_id: Uuid,
    pub user_id: Uuid,
    pub expires_at: DateTime<Utc>,
    pub download_count: i32,
    pub max_downloads: Option<i32>,
    #[schema(value_type = Option<String>)]
    pub ip_address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Returns up to `limit` tokens of a file, newest first: those of one user, or of all users if `user` is `None`.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_tokens(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    file: FileId,
    user: Option<UserId>,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<DownloadToken>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Json)]
            found: serde_json::Value,
        }
        let operation = "listing tokens";
        let of_user = if user.is_some() { "AND t.user_id = :user" } else { "" };
        let text = format!(
            "SELECT row_to_json(t) AS found FROM download_token t \
             WHERE t.file_id = :file AND t.company_id = :company {of_user} \
             ORDER BY t.created_at DESC, t.id DESC LIMIT :limit"
        );
        let binds = [("file", Bind::Uuid(file.0)), ("company", Bind::Uuid(company.0)), ("limit", Bind::BigInt(limit))];
        let binds = binds.into_iter().chain(user.map(|user| ("user", Bind::Uuid(user.0))));
        let found: Vec<Found> =
            Statement::new(&text, binds).load(connection).await.map_err(ReadModelError::query(operation))?;
        let tokens = found.into_iter().map(|row| serde_json::from_value(row.found));
        tokens.collect::<Result<_, _>>().map_err(ReadModelError::row(operation))
    })
}
