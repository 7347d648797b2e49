//! Scans verified files once, for `waybill scan`. Nothing waits for events, and the rules of the companies do not matter.

use crate::clamd::ClamdError;
use crate::config::Config;
use crate::new_files::is_of_clamd;
use crate::pace::Pace;
use crate::scan::{ScanError, Turn, scan_file};
use crate::scanner::Scanner;
use futures_util::{StreamExt, stream};
use uuid::Uuid;
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::{KeptFile, kept_files};
use waybill_schema::{Causation, CompanyId, UploadId};
use waybill_service_kit::new_id;

/// Number of files that one query returns.
const PAGE: i64 = 500;

/// Files of `waybill scan`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Number of files that were scanned, or were scanned with the present signatures before.
    pub scanned: u64,
    /// Number of files that could not be scanned.
    pub failed: u64,
}

/// Reason why files cannot be scanned at all.
#[derive(Debug, thiserror::Error)]
pub enum ScanAllError {
    /// There is no address of clamd.
    #[error("set WAYBILL_CLAMD to the address of clamd")]
    NoClamd,
    /// clamd can scan nothing.
    #[error(transparent)]
    Clamd(#[from] ClamdError),
    /// The files cannot be read from the tables.
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    /// clamd stopped scanning.
    #[error("{0}; run the command again")]
    Stopped(String),
}

/// Scans the files of a company, or of all companies. With `again`, also those that were scanned with the present signatures.
///
/// # Errors
/// [`ScanAllError`].
pub async fn scan_all(config: Config, company: Option<CompanyId>, again: bool) -> Result<Scanned, ScanAllError> {
    let scanner = Scanner::new(&config, Pace::off()).ok_or(ScanAllError::NoClamd)?;
    scanner.clamd.version().await?;
    let turn = if again { Turn::Again } else { Turn::Found };
    let at_once = scanner.settings.scans_at_once as usize;
    let mut done = Scanned::default();
    let (mut from, mut after) = (company.unwrap_or(CompanyId(Uuid::nil())), UploadId(Uuid::nil()));
    loop {
        let mut connection = scanner.database.connection().await?;
        let mut page = kept_files(&mut connection, from, after, PAGE).await?;
        drop(connection);
        page.retain(|file| company.is_none_or(|company| file.company_id == company));
        let Some(last) = page.last() else { return Ok(done) };
        (from, after) = (last.company_id, last.file_id);
        let scans = stream::iter(page).map(|file| scan(&scanner, turn, file));
        let mut scans = std::pin::pin!(scans.buffer_unordered(at_once));
        while let Some(scanned) = scans.next().await {
            match scanned {
                Ok(()) => done.scanned += 1,
                Err(error) if is_of_clamd(&error) && !scanner.clamd.can_scan().await => {
                    return Err(ScanAllError::Stopped(error.to_string()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a file cannot be scanned");
                    done.failed += 1;
                }
            }
        }
    }
}

async fn scan(scanner: &Scanner, turn: Turn, file: KeptFile) -> Result<(), ScanError> {
    scan_file(scanner, turn, file.company_id, file.file_id, Causation::Request(new_id())).await
}
