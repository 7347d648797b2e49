//! Search for files whose objects can be compressed.

use super::preview::KeyRow;
use super::{FileKey, Share};
use crate::ReadModelError;
use crate::statement::{Bind, Statement};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::future::BoxFuture;

/// Selects files to compress.
#[derive(Clone, Copy, Debug)]
pub struct ToCompress<'a> {
    /// Types of files that are compressed already. With the list of the index `file_to_compress`, in its order, the query uses the
    /// index.
    pub compressed: &'a [&'a str],
    /// Only files after this one, in the order of company and id.
    pub after: FileKey,
    /// Only files that were created before this time.
    pub until: DateTime<Utc>,
    /// Only files of this share.
    pub share: Share,
    /// Maximum number of files.
    pub limit: i64,
}

/// Returns files for which nobody has considered compression, ordered by company and id. Their events decide whether they are
/// compressed.
///
/// # Errors
/// [`ReadModelError`].
pub fn files_to_compress<'a>(
    connection: &'a mut AsyncPgConnection,
    wanted: ToCompress<'a>,
) -> BoxFuture<'a, Result<Vec<FileKey>, ReadModelError>> {
    Box::pin(async move {
        let (share, share_binds) = wanted.share.condition("id");
        let compressed = wanted.compressed.join("', '");
        let text = format!(
            "SELECT company_id, id FROM file WHERE stored_bytes IS NULL AND is_processed AND purged_at IS NULL \
             AND deleted_at IS NULL AND storage_tier = 'hot' AND size_bytes >= 65536 AND mime_type NOT LIKE 'video/%' \
             AND mime_type NOT IN ('{compressed}') AND created_at < :until {share} \
             AND (company_id, id) > (:company, :file) ORDER BY company_id, id LIMIT :limit"
        );
        let binds = [
            ("company", Bind::Uuid(wanted.after.company_id.0)),
            ("file", Bind::Uuid(wanted.after.file_id.0)),
            ("until", Bind::Time(wanted.until)),
            ("limit", Bind::BigInt(wanted.limit)),
        ];
        let found: Vec<KeyRow> = Statement::new(&text, binds.into_iter().chain(share_binds))
            .load(connection)
            .await
            .map_err(ReadModelError::query("searching for files to compress"))?;
        Ok(found.into_iter().map(FileKey::from).collect())
    })
}
