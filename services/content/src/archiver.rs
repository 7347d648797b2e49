//! Moves the bytes of files that nobody reads to the cold bucket.
//!
//! A file is archived if its company says after how many days, and if neither it nor any other file with the same object is younger
//! or was read since. The tables provide the files; an event decides.

use crate::config::Config;
use crate::context::utc_now;
use crate::encoding::EncodingError;
use crate::metrics;
use crate::moving::{MoveError, Mover, Target};
use crate::share::Announced;
use crate::turns::{SearchError, Work};
use chrono::{DateTime, Duration as Span, Utc};
use std::sync::Arc;
use std::time::Duration;
use waybill_cache::Cache;
use waybill_object_store::{Cold, ObjectStore};
use waybill_read_model::Database;
use waybill_read_model::queries::{
    ArchivePage, FileKey, ToArchive, files_to_archive, next_company_with_archive, unread_files,
};
use waybill_schema::{CompanyId, FileId};

/// Number of files of a company that are archived before other companies get their turn.
const PAGE: usize = 16;
/// Number of files that one query looks at.
const LOOKED_AT: i64 = 2_000;
/// Number of files that could not be archived, and the time after which they are tried again.
const FAILED: u64 = 10_000;
const FAILED_FOR: Duration = Duration::from_secs(3_600);

/// Connections of the archival.
pub(crate) struct Archiver {
    mover: Mover,
    store: Arc<dyn ObjectStore>,
    cold: Cold,
    database: Database,
    announced: Arc<Announced>,
    failed: Cache<FileId, ()>,
}

/// Company whose files are archived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archived {
    id: CompanyId,
    days: i32,
}

impl Archived {
    /// Returns the time before which a file must have been created and last read.
    fn until(self) -> DateTime<Utc> {
        utc_now() - Span::days(i64::from(self.days))
    }
}

impl Archiver {
    /// Creates the archival of the files of this process; `None` if there is no bucket for them.
    pub(crate) fn new(config: &Config, announced: Arc<Announced>) -> Option<Self> {
        Some(Self {
            mover: Mover::new(config),
            store: config.store.clone(),
            cold: config.cold.clone()?,
            database: config.database.clone(),
            announced,
            failed: Cache::builder(FAILED).time_to_live(FAILED_FOR).build(),
        })
    }

    async fn archive(&self, company: Archived, file: FileId) -> Result<(), MoveError> {
        let Some(placed) = self.mover.find(company.id, file).await? else { return Ok(()) };
        // The tables may not have the event yet.
        if placed.is_cold() || self.mover.adopt(&placed).await? {
            return Ok(());
        }
        let mut connection = self.database.connection().await?;
        let unread = unread_files(&mut connection, company.id, &placed.of.object.storage_key, company.until()).await?;
        drop(connection);
        match unread {
            Some(files) if placed.files().is_subset(&files) => {
                let target = Target { tier: self.cold.tier, bucket: self.cold.store.bucket() };
                self.mover.move_to(placed, files, target).await
            }
            // Another file needs the object in the hot tier.
            _ => Ok(()),
        }
    }
}

impl Work for Archiver {
    const NAME: &'static str = "archival";
    type Company = Archived;

    async fn next_company(&self, after: CompanyId) -> Result<Option<Archived>, SearchError> {
        let mut connection = self.database.connection().await?;
        let next = next_company_with_archive(&mut connection, after).await?;
        Ok(next.map(|(id, days)| Archived { id, days }))
    }

    fn id(company: Archived) -> CompanyId {
        company.id
    }

    async fn files(&self, company: Archived, after: FileId) -> Result<Vec<FileId>, SearchError> {
        let share = self.announced.share().unwrap_or_default();
        let mut after = FileKey { company_id: company.id, file_id: after };
        loop {
            let wanted = ToArchive { after, until: company.until(), share, limit: LOOKED_AT };
            let page = files_to_archive(&mut *self.database.connection().await?, wanted).await?;
            let Some(ArchivePage { mut due, last }) = page else { return Ok(Vec::new()) };
            if !due.is_empty() {
                due.truncate(PAGE);
                return Ok(due);
            }
            after.file_id = last;
        }
    }

    async fn work(&self, company: Archived, file: FileId) -> Result<(), SearchError> {
        if self.failed.contains_key(&file) {
            return Ok(());
        }
        // A file with which the thread panics is not tried again at once.
        self.failed.insert(&file, ());
        let Err(error) = self.archive(company, file).await else {
            self.failed.invalidate(&file);
            return Ok(());
        };
        metrics::MOVE_FAILURES.inc();
        match error {
            MoveError::Tables(error) => {
                self.failed.invalidate(&file);
                Err(error.into())
            }
            MoveError::Log(error) => {
                self.failed.invalidate(&file);
                Err(error.into())
            }
            MoveError::Append(error) => Err(error.into()),
            MoveError::Store(error) | MoveError::Encoding(EncodingError::Store(error)) => {
                // The next search tries again.
                self.failed.invalidate(&file);
                let answers = self.store.check().await.is_ok() && self.cold.store.check().await.is_ok();
                let company_id = company.id;
                tracing::warn!(%company_id, file_id = %file, %error, "cannot archive a file; will try again");
                if answers { Ok(()) } else { Err(error.into()) }
            }
            MoveError::Encoding(EncodingError::OtherBytes) => {
                tracing::error!(company_id = %company.id, file_id = %file, "the bytes of a file have changed in the store");
                Ok(())
            }
            error => {
                let company_id = company.id;
                tracing::warn!(%company_id, file_id = %file, %error, "cannot archive a file; will try again in an hour");
                Ok(())
            }
        }
    }
}
