//! Times of the last reads of files, which decide whether a file is archived. They are not in the log, because a read causes no
//! event.

use chrono::{DateTime, Utc};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use waybill_cache::Cache;
use waybill_read_model::queries::{FileKey, note_reads};
use waybill_read_model::{Database, ReadModelError};
use waybill_schema::{CompanyId, FileId};
use waybill_service_kit::{Shutdown, now};

/// Time for which further reads of a file are not written, and the number of files for which that is known.
const NOTED_FOR: Duration = Duration::from_secs(3_600);
const NOTED: u64 = 100_000;
/// Interval in which reads are written, and the maximum number that wait.
const WRITE_EVERY: Duration = Duration::from_secs(5);
const WAITING: usize = 50_000;

/// Reads that were not written yet.
pub(crate) struct LastReads {
    noted: Cache<(CompanyId, FileId), ()>,
    waiting: Mutex<Vec<FileKey>>,
}

impl Default for LastReads {
    fn default() -> Self {
        Self { noted: Cache::builder(NOTED).time_to_live(NOTED_FOR).build(), waiting: Mutex::default() }
    }
}

impl LastReads {
    /// Notes that a file is read.
    pub(crate) fn note(&self, company_id: CompanyId, file_id: FileId) {
        if self.noted.contains_key(&(company_id, file_id)) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            self.noted.insert(&(company_id, file_id), ());
            waiting.push(FileKey { company_id, file_id });
        }
    }

    /// Writes the reads into the tables until shutdown.
    pub(crate) async fn write(&self, database: &Database, shutdown: Shutdown) {
        loop {
            let is_over = shutdown.unless(tokio::time::sleep(WRITE_EVERY)).await.is_none();
            if let Err(error) = self.write_all(database).await {
                tracing::warn!(%error, "cannot record which files were read; will try again");
            }
            if is_over {
                return;
            }
        }
    }

    async fn write_all(&self, database: &Database) -> Result<(), ReadModelError> {
        let files = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if files.is_empty() {
            return Ok(());
        }
        let written = async {
            let time = DateTime::<Utc>::from_timestamp_millis(now().0).unwrap_or_default();
            note_reads(&mut *database.connection().await?, &files, time).await
        };
        let written = written.await;
        if written.is_err() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(files);
        }
        written
    }
}
