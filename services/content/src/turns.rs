//! Work on the files of many companies: in each round, on some files of every company.

use crate::config::Config;
use crate::pace::Pace;
use crate::share::Announced;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use uuid::Uuid;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::{Passing, Reactions};
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;
use waybill_schema::{CompanyId, FileId, UploadId};

/// Pause after a failure that concerns all files: of the tables, of the log, or of the store.
pub(crate) const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Reason why a search ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No event can be appended, so that all work would be in vain.
    #[error(transparent)]
    Append(#[from] ExecuteError),
}

/// Work on files.
pub(crate) trait Work {
    /// Name of the work in logs.
    const NAME: &'static str;
    /// A company with its rules.
    type Company: Copy;

    /// Returns the next company after `after` that may have files to work on.
    async fn next_company(&self, after: CompanyId) -> Result<Option<Self::Company>, SearchError>;

    /// Returns the id of a company.
    fn id(company: Self::Company) -> CompanyId;

    /// Returns the next files of a company after `after`, for one turn.
    async fn files(&self, company: Self::Company, after: FileId) -> Result<Vec<FileId>, SearchError>;

    /// Works on one file. A failure that concerns only this file is no error.
    async fn work(&self, company: Self::Company, file: FileId) -> Result<(), SearchError>;
}

/// Searches for files and works on them, again and again.
pub(crate) async fn search_on<W: Work>(work: &W, announced: &Announced, config: &Config, every: Duration) {
    let pace = Pace::new(config.settings.content_max_busy);
    loop {
        tokio::time::sleep(every).await;
        if announced.share().is_none() {
            continue;
        }
        if let Err(error) = search_for_replacement(work, config, &pace).await {
            tracing::warn!(%error, work = W::NAME, "cannot work on files; will try again");
            tokio::time::sleep(BEGIN_AGAIN_AFTER).await;
        }
    }
}

/// Works on files whose objects are replaced.
async fn search_for_replacement<W: Work>(work: &W, config: &Config, pace: &Pace) -> Result<(), SearchError> {
    // Before the first event, so that no replaced object is missed.
    for partition in config.repository.log().partitions().all() {
        Reactions::create(&config.nats, Passing::Replaced, partition).await?;
    }
    search(work, pace).await
}

/// Works on all files that a search finds.
pub(crate) async fn search<W: Work>(work: &W, pace: &Pace) -> Result<(), SearchError> {
    let (mut done, mut finished): (HashMap<CompanyId, FileId>, HashSet<CompanyId>) = Default::default();
    let mut failed = None;
    loop {
        let (mut is_end, mut after) = (true, CompanyId(Uuid::nil()));
        while let Some(company) = work.next_company(after).await? {
            after = W::id(company);
            if finished.contains(&after) {
                continue;
            }
            let files = match work.files(company, done.get(&after).copied().unwrap_or(UploadId(Uuid::nil()))).await {
                Ok(files) => files,
                // One company must not keep the others from their turns.
                Err(error) => {
                    finished.insert(after);
                    failed = Some(error);
                    continue;
                }
            };
            if files.is_empty() {
                finished.insert(after);
            }
            for file in files {
                pace.turn().await;
                work.work(company, file).await?;
                done.insert(after, file);
                is_end = false;
            }
        }
        if is_end {
            return failed.map_or(Ok(()), Err);
        }
    }
}
