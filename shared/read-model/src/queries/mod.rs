//! Queries of the read model. Every query is restricted to one company, so that it cannot return data of another
//! company. Only the queries for the sweep, for the seals of the audit and for the check of the object store cover all
//! companies.

mod access;
mod archival;
mod blocks;
mod candidates;
mod compression;
mod contents;
mod directory;
mod file;
mod files;
mod filter;
mod find_files;
mod history;
mod links;
mod objects;
mod plans;
mod preview;
mod quota;
mod scan;
mod sessions;
mod settled;
mod sweep;
mod tokens;

use crate::ReadModelError;
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

pub use access::{
    AccessRows, AuthorAccess, CompanyAccess, FileAccess, ShareAccess, ThreadAccess, UserAccess, Wanted, access_rows,
};
pub use archival::{ArchivePage, ToArchive, files_to_archive, next_company_with_archive, note_reads, unread_files};
pub use blocks::{EventPositions, LastEvent, event_positions, last_events};
pub use candidates::{Overdue, Page, Place, Share};
pub use compression::{ToCompress, files_to_compress};
pub use contents::files_with_digests;
pub use directory::{is_user_known, was_member_since};
pub use file::{File, columns_of};
pub use files::{
    Association, PageKey, SharedFile, SharedKey, SharedPage, count_associations, find_file, list_associations,
    list_files, list_shared,
};
pub use filter::{FileFilter, ScanFilter, term};
pub use find_files::find_files;
pub use history::shares_and_tokens_of;
pub use links::{Received, UploadLink, count_links, find_link, list_links, received_with};
pub use objects::{KeptFile, kept_files, referenced_keys};
pub use plans::{plan_of_access, plan_of_listing};
pub use preview::{
    FileKey, Preview, PreviewPage, ShownVariant, files_to_preview, files_to_strip, next_company_that_strips,
    overdue_previews,
};
pub use quota::find_quota;
pub use scan::{
    Scan, ScanPage, Unscanned, companies_with_scans, files_to_scan, not_infected_with_same_bytes,
    scanned_with_same_bytes,
};
pub use sessions::{UploadProgress, find_progress, find_session, list_running, list_session_files, unfinished_uploads};
pub use settled::{RowsState, rows_state};
pub use sweep::{
    Counted, abandoned_uploads, awaited_objects, companies_with_retention, files_to_purge, files_to_retire,
    open_quarantines, overdue_partial_uploads, overdue_reservations, overdue_uploads, quotas_to_count,
    tokens_to_forget,
};
pub use tokens::{DownloadToken, TokenFilter, list_tokens};

/// Statement that limits the time of the other statements of a transaction.
#[derive(Clone, Copy)]
struct Timeout(&'static str);

/// Loads the rows of a query with a plan for its values, because the best plan of a listing depends on them.
async fn load_for_values<'query, Q, R>(
    connection: &mut AsyncPgConnection,
    query: Q,
    timeout: Option<Timeout>,
    operation: &'static str,
) -> Result<Vec<R>, ReadModelError>
where
    Q: LoadQuery<'query, AsyncPgConnection, R> + Send + 'query,
    R: Send + 'query,
{
    connection
        .transaction(async |connection: &mut AsyncPgConnection| {
            let failed = ReadModelError::query(operation);
            connection.batch_execute("SET LOCAL plan_cache_mode = force_custom_plan").await.map_err(&failed)?;
            if let Some(Timeout(text)) = timeout {
                connection.batch_execute(text).await.map_err(&failed)?;
            }
            query.load(connection).await.map_err(&failed)
        })
        .await
}
