//! What the tables know of the objects in the store. These are hints: whether an object is needed is decided on the events.

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
    /// Its company.
    pub company_id: CompanyId,
    /// Its id.
    pub file_id: UploadId,
    /// Where its bytes are.
    pub storage_key: String,
    /// Bytes.
    pub size_bytes: u64,
}

/// Those of the keys that a file refers to. No key has a comma.
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
        let text = "SELECT k.storage_key FROM unnest(string_to_array(?, ',')) AS k (storage_key) \
                WHERE EXISTS (SELECT FROM file f WHERE f.storage_key = k.storage_key)";
        let found: Vec<Found> = Statement::new(text, [Bind::Text(keys.join(","))])
            .load(connection)
            .await
            .map_err(ReadModelError::query("looking for files by their keys"))?;
        Ok(found.into_iter().map(|found| found.storage_key).collect())
    })
}

/// Up to `limit` files of all companies that have an object, behind one of them, by company and id.
///
/// # Errors
/// [`ReadModelError`].
pub fn kept_files(
    connection: &mut AsyncPgConnection,
    (company, file): (CompanyId, UploadId),
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
                WHERE (f.company_id, f.id) > (?, ?) AND f.storage_key IS NOT NULL \
                ORDER BY f.company_id, f.id LIMIT ?";
        let found: Vec<Found> = Statement::new(text, [Bind::Uuid(company.0), Bind::Uuid(file.0), Bind::BigInt(limit)])
            .load(connection)
            .await
            .map_err(ReadModelError::query("going through the files"))?;
        let kept = |Found { company_id, id, storage_key, size_bytes }| KeptFile {
            company_id: CompanyId(company_id),
            file_id: UploadId(id),
            storage_key,
            size_bytes: u64::try_from(size_bytes).unwrap_or(0),
        };
        Ok(found.into_iter().map(kept).collect())
    })
}
