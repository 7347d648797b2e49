//! Queries of the read model. Every query is restricted to one company, so that it cannot return data of another
//! company. Only the queries for the sweep, for the seals of the audit and for the check of the object store cover all
//! companies.

mod access;
mod archival;
mod associations;
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
mod listing;
mod load;
mod objects;
mod order;
mod plans;
mod preview;
mod quota;
mod scan;
mod sessions;
mod settled;
mod shared;
mod sweep;
mod tokens;

use load::{Planning, load_planned};

pub use access::{
    AccessRows, AuthorAccess, CompanyAccess, FileAccess, ShareAccess, ThreadAccess, UserAccess, Wanted, access_rows,
};
pub use archival::{ArchivePage, ToArchive, files_to_archive, next_company_with_archive, note_reads, unread_files};
pub use associations::{Association, count_associations, list_associations};
pub use blocks::{EventPositions, LastEvent, event_positions, last_events};
pub use candidates::{Overdue, Page, Place, Share};
pub use compression::{ToCompress, files_to_compress};
pub use contents::files_with_digests;
pub use directory::{is_user_known, was_member_since};
pub use file::{File, columns_of};
pub use files::{OwnPage, find_file, list_files};
pub use filter::{FileFilter, ScanFilter};
pub use find_files::find_files;
pub use history::shares_and_tokens_of;
pub use links::{Received, UploadLink, count_links, find_link, list_links, received_with};
pub use listing::rows_read;
pub use objects::{KeptFile, kept_files, referenced_keys};
pub use order::{ListKey, Order, SortBy, SortValue};
pub use plans::plan_of_access;
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
pub use shared::{SharedFile, SharedKey, SharedPage, list_shared, next_expiry};
pub use sweep::{
    Counted, abandoned_uploads, awaited_objects, companies_with_retention, files_to_purge, files_to_retire,
    open_quarantines, overdue_partial_uploads, overdue_reservations, overdue_uploads, quotas_to_count,
    tokens_to_forget,
};
pub use tokens::{DownloadToken, TokenFilter, TokenKey, list_tokens};
