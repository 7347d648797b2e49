//! Query for files with the same bytes.

use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use diesel::QueryableByName;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use uuid::Uuid;
use waybill_schema::{CompanyId, FileId, Sha256Digest, UploadId};

/// Returns up to two files of the company for each of the digests. They are candidates: the caller must check from
/// their events that they still exist.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_with_digests<'a>(
    connection: &'a mut AsyncPgConnection,
    company: CompanyId,
    digests: &'a [Sha256Digest],
) -> BoxFuture<'a, Result<HashMap<Sha256Digest, Vec<FileId>>, ReadModelError>> {
    Box::pin(async move {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = diesel::sql_types::Text)]
            hash: String,
            #[diesel(sql_type = diesel::sql_types::Uuid)]
            id: Uuid,
        }
        let mut by_text: HashMap<String, Sha256Digest> = HashMap::new();
        by_text.extend(digests.iter().map(|digest| (digest.to_string(), *digest)));
        let all: Vec<&str> = by_text.keys().map(String::as_str).collect();
        let text = "SELECT h.hash, f.id FROM unnest(string_to_array(:digests, ',')) AS h (hash), \
                LATERAL (SELECT f.id FROM file f WHERE f.company_id = :company AND f.hash = h.hash \
                    AND f.is_processed AND f.purged_at IS NULL LIMIT 2) f";
        let binds = [("digests", Bind::Text(all.join(","))), ("company", Bind::Uuid(company.0))];
        let found: Vec<Found> = Statement::new(text, binds)
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files with the same bytes"))?;
        let mut files: HashMap<Sha256Digest, Vec<FileId>> = HashMap::new();
        for Found { hash, id } in found {
            if let Some(digest) = by_text.get(&hash) {
                files.entry(*digest).or_default().push(UploadId(id));
            }
        }
        Ok(files)
    })
}
