//! Searches the tables for files that the consumer does not provide: those that were verified before their company had
//! them scanned or while no process of this role ran, and those whose scan is old.

use crate::clamd;
use crate::context::utc_now;
use crate::new_files::{is_of_clamd, note_failure};
use crate::scan::{ScanError, Turn, scan_file};
use crate::scanner::Scanner;
use chrono::Duration as Span;
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;
use waybill_access::AccessError;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Passing, Reactions};
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::{Unscanned, companies_with_scans, files_to_scan};
use waybill_schema::{Causation, CompanyId, FileId, ScanPolicy};
use waybill_service_kit::{Shutdown, now};

/// Number of files that one query reads, and of queries for a company before other companies get their turn.
const PAGE: i64 = 5_000;
const PAGES: usize = 10;
/// Number of companies with files of one page that are searched at the same time.
const COMPANIES_AT_ONCE: usize = 4;
/// Times after which the files of a company are searched again although neither its rules nor the signatures have changed.
/// The first search can miss files that were verified shortly before, because the tables did not contain them yet.
const AGAIN_AFTER_MS: [i64; 3] = [5_000, 60_000, 3_600_000];

#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Clamd(#[from] clamd::ClamdError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Scan(#[from] ScanError),
}

/// Search of a company's files.
#[derive(Default)]
struct Searched {
    /// The file after which an unfinished search continues.
    after: Option<Uuid>,
    /// `true` if the search has scanned all files up to now that it found.
    is_complete: bool,
    database_version: String,
    /// Time of the last finished search.
    at_ms: i64,
    /// Number of finished searches, which says in [`AGAIN_AFTER_MS`] when the next one begins.
    rounds: usize,
}

/// Result of searching some pages.
struct Round {
    /// The file after which the search continues; `None` after the last file.
    after: Option<Uuid>,
    /// `false` if a file could not be scanned.
    is_complete: bool,
}

impl Searched {
    fn note(&mut self, round: Round, database_version: &str, at_ms: i64) {
        self.is_complete = round.is_complete && (self.after.is_none() || self.is_complete);
        self.after = round.after;
        if self.after.is_none() {
            self.at_ms = at_ms;
            database_version.clone_into(&mut self.database_version);
            // After an incomplete search, the next one begins in a minute.
            self.rounds = if self.is_complete { self.rounds.saturating_add(1) } else { 2 };
        }
    }
}

/// Tells the consumers whether a company has its files scanned, and searches for files to scan, until shutdown.
pub(crate) async fn run(scanner: Arc<Scanner>, is_on: watch::Sender<bool>, shutdown: Shutdown) {
    let mut searched = HashMap::new();
    while !shutdown.is_triggered() {
        if let Some(Err(error)) = shutdown.unless(search(&scanner, &is_on, &mut searched)).await {
            if let SearchError::Scan(error) = &error {
                note_failure(&scanner, error);
            }
            tracing::warn!(%error, "the search for files to scan failed; the next one tries again");
        }
        shutdown.unless(tokio::time::sleep(scanner.settings.search_every())).await;
    }
}

async fn search(
    scanner: &Scanner,
    is_on: &watch::Sender<bool>,
    searched: &mut HashMap<CompanyId, Searched>,
) -> Result<(), SearchError> {
    let companies = companies(scanner).await?;
    is_on.send_if_modified(|is_on| {
        let was_on = std::mem::replace(is_on, !companies.is_empty());
        was_on == companies.is_empty()
    });
    searched.retain(|company, _| companies.contains(company));
    if companies.is_empty() {
        return Ok(());
    }
    // Before the search, so that no file is missed between the search and the first event.
    for partition in scanner.repository.log().partitions().all() {
        Reactions::create(&scanner.nats, Passing::Scans, partition).await?;
    }
    let version = scanner.clamd.version().await?;
    let at_ms = now().0;
    let is_due = |company: &CompanyId| {
        searched.get(company).is_none_or(|done| {
            let again_after_ms = AGAIN_AFTER_MS[done.rounds.clamp(1, AGAIN_AFTER_MS.len()) - 1];
            let is_over = done.database_version != version.database || at_ms - done.at_ms > again_after_ms;
            done.after.is_some() || is_over
        })
    };
    let due: Vec<(CompanyId, Uuid)> = companies
        .into_iter()
        .filter(is_due)
        .map(|company| (company, searched.get(&company).and_then(|done| done.after).unwrap_or_default()))
        .collect();
    let done: Vec<(CompanyId, Result<Round, SearchError>)> = stream::iter(due)
        .map(|(company, after)| search_company(scanner, &version, company, after))
        .buffer_unordered(COMPANIES_AT_ONCE)
        .collect()
        .await;
    let mut failed = None;
    for (company, round) in done {
        match round {
            Ok(round) => searched.entry(company).or_default().note(round, &version.database, at_ms),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Returns the companies whose files are scanned.
async fn companies(scanner: &Scanner) -> Result<Vec<CompanyId>, SearchError> {
    let all = scanner.access.installation_scans().policy != ScanPolicy::Off;
    let (mut companies, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let mut connection = scanner.database.connection().await?;
        let page = companies_with_scans(&mut connection, all, after).await?;
        let Some(last) = page.last() else { return Ok(companies) };
        after = last.0;
        companies.extend(page);
    }
}

/// Scans the next files of a company that were not scanned, or not recently.
async fn search_company(
    scanner: &Scanner,
    version: &clamd::Version,
    company: CompanyId,
    mut after: Uuid,
) -> (CompanyId, Result<Round, SearchError>) {
    let days = Span::days(i64::from(scanner.settings.rescan_after_days));
    let mut is_complete = true;
    for _ in 0..PAGES {
        let page = async {
            if scanner.access.scan_rules(company).await?.policy == ScanPolicy::Off {
                return Ok(None);
            }
            let scanned_until = utc_now() - days;
            let wanted = Unscanned { company, database_version: &version.database, scanned_until, after, limit: PAGE };
            let mut connection = scanner.database.connection().await?;
            Ok::<_, SearchError>(files_to_scan(&mut connection, wanted).await?)
        };
        let page = match page.await {
            Ok(Some(page)) => page,
            Ok(None) => return (company, Ok(Round { after: None, is_complete })),
            Err(error) => return (company, Err(error)),
        };
        let scans = stream::iter(page.due).map(|file| scan(scanner, company, file));
        let mut scans = std::pin::pin!(scans.buffer_unordered(scanner.settings.scans_at_once as usize));
        while let Some(scanned) = scans.next().await {
            match scanned {
                Ok(is_scanned) => is_complete &= is_scanned,
                Err(error) => return (company, Err(error)),
            }
        }
        after = page.last;
    }
    (company, Ok(Round { after: Some(after), is_complete }))
}

/// Scans a file. Returns `false` if it cannot be scanned now, and an error only if clamd can scan nothing.
async fn scan(scanner: &Scanner, company: CompanyId, file: FileId) -> Result<bool, SearchError> {
    // The semaphore is never closed.
    let Ok(_permit) = scanner.searching.acquire().await else { return Ok(false) };
    scanner.turn(scanner.access.scan_rules(company).await?).await;
    let causation = Causation::Request(waybill_service_kit::new_id());
    let Err(error) = scan_file(scanner, Turn::Found, company, file, causation).await else { return Ok(true) };
    if is_of_clamd(&error) && !scanner.clamd.can_scan().await {
        return Err(error.into());
    }
    // One file must not keep the others from being scanned. The next search finds it again.
    tracing::warn!(file_id = %file, %error, "a file cannot be scanned now");
    Ok(false)
}
