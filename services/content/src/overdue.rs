//! Searches the tables for pictures and documents that have no previews although they can be read: those that became readable by
//! a changed policy, and those whose event came while the role did not exist. Also for files whose metadata was not looked at before
//! their company wanted it.

use crate::consumer::Step;
use crate::context::utc_now;
use crate::pace::Pace;
use crate::previews::{Previews, Turn};
use crate::turns::{self, SearchError, Work};
use chrono::Duration as Span;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use waybill_read_model::queries::{FileKey, files_to_strip, next_company_that_strips, overdue_previews};
use waybill_read_model::{Database, ReadModelError};
use waybill_schema::{Causation, CompanyId, FileId, UploadId};
use waybill_service_kit::{Shutdown, new_id};

/// Number of files that one query returns.
const PAGE: i64 = 500;
/// Number of files of a company whose metadata is looked at before other companies get their turn.
const TURN: i64 = 20;
/// Number of searches for scans after which overdue previews are searched. A search finds files that are older than the previous
/// search.
const ROUNDS: u32 = 6;

/// The overdue work.
struct Overdue {
    previews: Arc<Previews>,
    database: Database,
    search_every: Duration,
}

/// Does the overdue work until shutdown. `search_every` is the pause between two searches for scans.
pub(crate) async fn run(previews: Arc<Previews>, database: Database, search_every: Duration, shutdown: Shutdown) {
    let overdue = Overdue { previews, database, search_every };
    tokio::join!(overdue.make_previews(&shutdown), overdue.strip(&shutdown));
}

impl Overdue {
    /// Looks at the metadata of files, one at a time.
    async fn strip(&self, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            shutdown.unless(tokio::time::sleep(self.search_every)).await;
            // Others wait for these files.
            if let Some(Err(error)) = shutdown.unless(turns::search(self, &Pace::off())).await {
                tracing::warn!(%error, "cannot search for files whose metadata was not looked at; will try again");
            }
        }
    }

    /// Makes previews, one at a time.
    async fn make_previews(&self, shutdown: &Shutdown) {
        while !shutdown.is_triggered() {
            shutdown.unless(tokio::time::sleep(self.search_every.saturating_mul(ROUNDS))).await;
            if let Some(Err(error)) = shutdown.unless(self.search_previews()).await {
                tracing::warn!(%error, "cannot search for overdue previews; will try again");
            }
        }
    }

    async fn search_previews(&self) -> Result<(), ReadModelError> {
        let age = Span::from_std(self.search_every.saturating_mul(ROUNDS)).unwrap_or(Span::MAX);
        let until = utc_now() - age;
        let mut after = FileKey { company_id: CompanyId(Uuid::nil()), file_id: UploadId(Uuid::nil()) };
        loop {
            let mut connection = self.database.connection().await?;
            let page = overdue_previews(&mut connection, after, until, PAGE).await?;
            drop(connection);
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            for file in page {
                self.make(file).await;
            }
        }
    }

    async fn make(&self, FileKey { company_id, file_id }: FileKey) {
        self.previews.possible().await;
        let causation = Causation::Request(new_id());
        if let Err(error) = self.previews.make(company_id, file_id, Turn::Own, false, causation).await {
            tracing::warn!(%company_id, %file_id, %error, "overdue work on a file failed; the next search tries again");
        }
    }
}

impl Work for Overdue {
    const NAME: &'static str = "metadata";
    type Company = CompanyId;

    async fn next_company(&self, after: CompanyId) -> Result<Option<CompanyId>, SearchError> {
        let mut connection = self.database.connection().await?;
        Ok(next_company_that_strips(&mut connection, after).await?)
    }

    fn id(company: CompanyId) -> CompanyId {
        company
    }

    async fn files(&self, company_id: CompanyId, after: FileId) -> Result<Vec<FileId>, SearchError> {
        let until = utc_now() - Span::from_std(self.search_every).unwrap_or(Span::MAX);
        let mut connection = self.database.connection().await?;
        Ok(files_to_strip(&mut connection, FileKey { company_id, file_id: after }, until, TURN).await?)
    }

    async fn work(&self, company_id: CompanyId, file_id: FileId) -> Result<(), SearchError> {
        self.make(FileKey { company_id, file_id }).await;
        Ok(())
    }
}
