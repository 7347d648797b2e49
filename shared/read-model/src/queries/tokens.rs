//! Queries for download tokens.

use super::{Planning, load_planned};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::Json;
use diesel_async::AsyncPgConnection;
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

/// Filter of a list of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenFilter {
    /// Only tokens of this file.
    pub file: Option<FileId>,
    /// Only tokens that this user issued.
    pub user: Option<UserId>,
    /// `true` for only tokens that were neither revoked nor used up and have not expired.
    pub is_active: bool,
}

/// The key of the token after which a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// The token's `created_at`.
    pub created_at: DateTime<Utc>,
    /// Id.
    pub id: Uuid,
}

/// Returns up to `limit` tokens of a company after `after`, newest first.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_tokens(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    filter: TokenFilter,
    after: Option<TokenKey>,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<DownloadToken>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Json)]
            found: serde_json::Value,
        }
        let operation = "listing tokens";
        let found: Vec<Found> =
            load_planned(connection, statement(company, filter, after, limit), Planning::ForValues, None, operation)
                .await?;
        let tokens = found.into_iter().map(|row| serde_json::from_value(row.found));
        tokens.collect::<Result<_, _>>().map_err(ReadModelError::row(operation))
    })
}

fn statement(company: CompanyId, filter: TokenFilter, after: Option<TokenKey>, limit: i64) -> Statement {
    let mut text = "SELECT row_to_json(t) AS found FROM download_token t WHERE t.company_id = :company".to_owned();
    let mut binds = vec![("company", Bind::Uuid(company.0)), ("limit", Bind::BigInt(limit))];
    if let Some(file) = filter.file {
        text.push_str(" AND t.file_id = :file");
        binds.push(("file", Bind::Uuid(file.0)));
    }
    if let Some(user) = filter.user {
        text.push_str(" AND t.user_id = :user");
        binds.push(("user", Bind::Uuid(user.0)));
    }
    if filter.is_active {
        text.push_str(
            " AND t.revoked_at IS NULL AND t.expires_at > now() \
             AND (t.max_downloads IS NULL OR t.download_count < t.max_downloads)",
        );
    }
    if let Some(after) = after {
        text.push_str(" AND (t.created_at, t.id) < (:after_created, :after_id)");
        binds.extend([("after_created", Bind::Time(after.created_at)), ("after_id", Bind::Uuid(after.id))]);
    }
    text.push_str(" ORDER BY t.created_at DESC, t.id DESC LIMIT :limit");
    Statement::new(&text, binds)
}
