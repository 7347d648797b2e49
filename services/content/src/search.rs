//! Searches the tables for files that the consumer does not provide: those that were verified before their company had
//! them scanned or while no process of this role ran, and those whose scan is old.

use crate::consumer::note_failure;
use crate::scan::{ScanError, scan_file};
use crate::{Content, clamd};
use chrono::{DateTime, Duration as Span, Utc};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;
use waybill_access::AccessError;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::Reactions;
use waybill_read_model::ReadModelError;
use waybill_read_model::queries::{Unscanned, companies_with_scans, files_to_scan};
use waybill_schema::{Causation, CompanyId, FileId, ScanPolicy};
use waybill_service_kit::{Shutdown, now};

/// Number of files that one query returns.
const PAGE: i64 = 200;
/// Number of companies with files of one page that are searched at the same time.
const COMPANIES_AT_ONCE: usize = 4;
/// Time after which the files of a company are searched again although neither its rules nor the signatures have changed:
/// after the first search, which may have missed files that were verified while the company's rules changed, and later.
const SECOND_AFTER_MS: i64 = 60_000;
const AGAIN_AFTER_MS: i64 = 3_600_000;

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

/// A finished search of a company's files.
struct Searched {
    database_version: String,
    at_ms: i64,
    /// Number of searches since the company has its files scanned.
    rounds: u32,
}

/// Tells the consumers whether a company has its files scanned, and searches for files to scan, until shutdown.
pub(crate) async fn run(content: Arc<Content>, is_on: watch::Sender<bool>, shutdown: Shutdown) {
    let mut searched = HashMap::new();
    while !shutdown.is_triggered() {
        if let Some(Err(error)) = shutdown.unless(search(&content, &is_on, &mut searched)).await {
            if let SearchError::Scan(error) = &error {
                note_failure(error);
            }
            tracing::warn!(%error, "the search for files to scan failed; the next one tries again");
        }
        shutdown.unless(tokio::time::sleep(content.settings.search_every())).await;
    }
}

async fn search(
    content: &Content,
    is_on: &watch::Sender<bool>,
    searched: &mut HashMap<CompanyId, Searched>,
) -> Result<(), SearchError> {
    let companies = companies(content).await?;
    is_on.send_if_modified(|is_on| {
        let was_on = std::mem::replace(is_on, !companies.is_empty());
        was_on == companies.is_empty()
    });
    searched.retain(|company, _| companies.contains(company));
    if companies.is_empty() {
        return Ok(());
    }
    // Before the search, so that no file is missed between the search and the first event.
    for partition in content.repository.log().partitions().all() {
        Reactions::create_scans(&content.nats, partition).await?;
    }
    let version = content.clamd.version().await?;
    let at_ms = now().0;
    let is_due = |company: &CompanyId| {
        searched.get(company).is_none_or(|done| {
            let again_after_ms = if done.rounds < 2 { SECOND_AFTER_MS } else { AGAIN_AFTER_MS };
            done.database_version != version.database || at_ms - done.at_ms > again_after_ms
        })
    };
    let due: Vec<CompanyId> = companies.into_iter().filter(is_due).collect();
    let done: Vec<Result<CompanyId, SearchError>> = stream::iter(due)
        .map(|company| search_company(content, &version, company))
        .buffer_unordered(COMPANIES_AT_ONCE)
        .collect()
        .await;
    let mut failed = None;
    for done in done {
        match done {
            Ok(company) => {
                let rounds = searched.get(&company).map_or(1, |before| before.rounds.saturating_add(1));
                searched.insert(company, Searched { database_version: version.database.clone(), at_ms, rounds });
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Returns the companies whose files are scanned.
async fn companies(content: &Content) -> Result<Vec<CompanyId>, SearchError> {
    let all = content.access.installation_scans().policy != ScanPolicy::Off;
    let (mut companies, mut after) = (Vec::new(), Uuid::nil());
    loop {
        let mut connection = content.database.connection().await?;
        let page = companies_with_scans(&mut connection, all, after).await?;
        let Some(last) = page.last() else { return Ok(companies) };
        after = last.0;
        companies.extend(page);
    }
}

/// Scans the files of a company that were not scanned, or not recently.
async fn search_company(
    content: &Content,
    version: &clamd::Version,
    company: CompanyId,
) -> Result<CompanyId, SearchError> {
    let mut after = Uuid::nil();
    let days = Span::days(i64::from(content.settings.rescan_after_days));
    loop {
        let scanned_until = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default() - days;
        let database_version = &version.database;
        let wanted = Unscanned { company, database_version, scanned_until, after, limit: PAGE };
        let mut connection = content.database.connection().await?;
        let files: Vec<FileId> = files_to_scan(&mut connection, wanted).await?;
        drop(connection);
        let Some(last) = files.last() else { return Ok(company) };
        after = last.0;
        if content.access.scan_rules(company).await?.policy == ScanPolicy::Off {
            return Ok(company);
        }
        let scans = stream::iter(files).map(|file| scan(content, version, company, file));
        let mut scans = std::pin::pin!(scans.buffer_unordered(content.settings.scans_at_once as usize));
        while let Some(scanned) = scans.next().await {
            scanned?;
        }
    }
}

async fn scan(content: &Content, version: &clamd::Version, company: CompanyId, file: FileId) -> Result<(), ScanError> {
    // The semaphore is never closed.
    let Ok(_permit) = content.searching.acquire().await else { return Ok(()) };
    match scan_file(content, version, company, file, Causation::Request(waybill_service_kit::new_id())).await {
        // One file must not keep the others from being scanned. The next search finds it again.
        Err(error @ (ScanError::NoPlace | ScanError::Store(_))) => {
            tracing::warn!(file_id = %file, %error, "a file cannot be scanned now");
            Ok(())
        }
        outcome => outcome,
    }
}
