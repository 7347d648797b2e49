//! Queries for upload links.

use crate::ReadModelError;
use crate::schema::upload_link;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use serde::Serialize;
use std::collections::HashMap;
use utoipa::ToSchema;
use uuid::Uuid;
use waybill_schema::{CompanyId, LinkId, Timestamp, UserId};

/// An upload link, as its owner sees it: without the secret. Sizes are in bytes.
#[derive(Clone, Debug, Queryable, Selectable, Serialize, ToSchema)]
#[diesel(table_name = upload_link, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "the fields are the data model's columns")]
pub struct UploadLink {
    pub id: Uuid,
    /// The user to whom the files belong.
    pub user_id: Uuid,
    pub label: Option<String>,
    pub expires_at: DateTime<Utc>,
    pub max_files: i32,
    pub max_bytes: i64,
    pub max_file_bytes: Option<i64>,
    #[schema(value_type = Option<Vec<String>>)]
    pub mime_types: Option<serde_json::Value>,
    pub chatroom_id: Option<Uuid>,
    pub thread_id: Option<Uuid>,
    pub ask_name: bool,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Verified files that were sent with an upload link, and their bytes. Deleted files count until they are purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Number of files.
    pub files: i64,
    /// Bytes of these files.
    pub bytes: i64,
}

/// Returns an upload link.
///
/// # Errors
/// [`ReadModelError`].
pub fn find_link(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    id: LinkId,
) -> BoxFuture<'_, Result<Option<UploadLink>, ReadModelError>> {
    Box::pin(async move {
        upload_link::table
            .filter(upload_link::company_id.eq(company.0).and(upload_link::id.eq(id.0)))
            .select(UploadLink::as_select())
            .first(connection)
            .await
            .optional()
            .map_err(ReadModelError::query("finding an upload link"))
    })
}

/// Returns up to `limit` upload links of a company, or of one of its users, with smaller ids than `before`: the newest first.
///
/// # Errors
/// [`ReadModelError`].
pub fn list_links(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    user: Option<UserId>,
    before: Option<LinkId>,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<UploadLink>, ReadModelError>> {
    Box::pin(async move {
        let mut links = upload_link::table
            .filter(upload_link::company_id.eq(company.0))
            .select(UploadLink::as_select())
            .order(upload_link::id.desc())
            .limit(limit)
            .into_boxed();
        if let Some(user) = user {
            links = links.filter(upload_link::user_id.eq(user.0));
        }
        if let Some(before) = before {
            links = links.filter(upload_link::id.lt(before.0));
        }
        links.load(connection).await.map_err(ReadModelError::query("listing upload links"))
    })
}

/// Returns the number of upload links of a company, or of one of its users, that have not expired.
///
/// # Errors
/// [`ReadModelError`].
pub fn count_links(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    user: Option<UserId>,
    now: Timestamp,
) -> BoxFuture<'_, Result<i64, ReadModelError>> {
    Box::pin(async move {
        let time = DateTime::from_timestamp_millis(now.0).unwrap_or_default();
        let mut links = upload_link::table
            .filter(upload_link::company_id.eq(company.0).and(upload_link::expires_at.gt(time)))
            .into_boxed();
        if let Some(user) = user {
            links = links.filter(upload_link::user_id.eq(user.0));
        }
        links.count().get_result(connection).await.map_err(ReadModelError::query("counting upload links"))
    })
}

/// Returns what was received with upload links. Links without files are absent.
///
/// # Errors
/// [`ReadModelError`].
pub fn received_with<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    links: &'a [Uuid],
) -> BoxFuture<'a, Result<HashMap<Uuid, Received>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = SqlUuid)]
            link: Uuid,
            #[diesel(sql_type = BigInt)]
            files: i64,
            #[diesel(sql_type = BigInt)]
            bytes: i64,
        }
        let text = "SELECT f.upload_link_id AS link, count(*) AS files, sum(f.size_bytes)::bigint AS bytes FROM file f \
                    WHERE f.company_id = $1 AND f.upload_link_id = ANY($2) AND f.is_processed AND f.purged_at IS NULL \
                    GROUP BY f.upload_link_id";
        let found: Vec<Found> = sql_query(text)
            .bind::<SqlUuid, _>(company.0)
            .bind::<Array<SqlUuid>, _>(links)
            .load(connection)
            .await
            .map_err(ReadModelError::query("counting the files of upload links"))?;
        Ok(found.into_iter().map(|Found { link, files, bytes }| (link, Received { files, bytes })).collect())
    })
}
