//! Queries for the objects that files refer to. The results are hints: the caller must check from the events whether an
//! object is needed.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use uuid::Uuid;
use waybill_schema::{CompanyId, UploadId};

/// A file and the key of its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The company of the file.
    pub company_id: CompanyId,
    /// Id of the file.
    pub file_id: UploadId,
    /// Key of the object with the bytes.
    pub storage_key: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// Returns those of the keys that a file refers to. Keys must not contain commas.
///
/// # Errors
/// [`ReadModelError`].
pub fn referenced_keys<'a>(
    connection: &'a mut AsyncPgConnection,
    keys: &'a [&'a str],
) -> BoxFuture<'a, Result<HashSet<String>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::Text)]
            storage_key: String,
        }
        let text = "SELECT k.storage_key FROM unnest(string_to_array(:keys, ',')) AS k (storage_key) \
                WHERE EXISTS (SELECT FROM file f WHERE f.storage_key = k.storage_key)";
        let found: Vec<Found> = Statement::new(text, [("keys", Bind::Text(keys.join(",")))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files by storage key"))?;
        Ok(found.into_iter().map(|found| found.storage_key).collect())
    })
}

/// Returns up to `limit` files of all companies that have an object, ordered by company and id, after the given company
/// and file.
///
/// # Errors
/// [`ReadModelError`].
pub fn kept_files(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
    file: UploadId,
    limit: i64,
) -> BoxFuture<'_, Result<Vec<KeptFile>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            company_id: Uuid,
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            id: Uuid,
            #[diesel(sql_type = diesel::sql_types::Text)]
            storage_key: String,
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            size_bytes: i64,
        }
        let text = "SELECT f.company_id, f.id, f.storage_key, f.size_bytes FROM file f \
                WHERE (f.company_id, f.id) > (:company, :file) AND f.storage_key IS NOT NULL \
                ORDER BY f.company_id, f.id LIMIT :limit";
        let binds = [("company", Bind::Uuid(company.0)), ("file", Bind::Uuid(file.0)), ("limit", Bind::BigInt(limit))];
        let found: Vec<Found> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("listing files with objects"))?;
        let kept = |Found { company_id, id, storage_key, size_bytes }| KeptFile {
            company_id: CompanyId(company_id),
            file_id: UploadId(id),
            storage_key,
            size_bytes: u64::try_from(size_bytes).unwrap_or(0),
        };
        Ok(found.into_iter().map(kept).collect())
    })
}
