//! Moves the bytes of archived files back to the hot tier if somebody asks for them.

use crate::config::Config;
use crate::consumer::{Outcome, Step};
use crate::context::{context, utc_now};
use crate::metrics;
use crate::moving::{MoveError, Mover, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use waybill_domain::file::Command;
use waybill_event_log::jetstream::Passing;
use waybill_object_store::ObjectStore;
use waybill_read_model::Database;
use waybill_read_model::queries::{FileKey, note_reads};
use waybill_repository::{FileAggregate, Repository};
use waybill_schema::events::FileEvent;
use waybill_schema::{Causation, CompanyId, Entity, Event, FileId, Recorded, StorageTier};

/// Number of objects that are copied at the same time. Each one takes up to two parts of an object in memory.
const AT_ONCE: usize = 4;

/// Connections.
pub(crate) struct Thaws {
    repository: Arc<Repository>,
    mover: Mover,
    store: Arc<dyn ObjectStore>,
    database: Database,
    poll: Duration,
    places: Semaphore,
}

impl Thaws {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            repository: config.repository.clone(),
            mover: Mover::new(config),
            store: config.store.clone(),
            database: config.database.clone(),
            poll: Duration::from_secs(config.settings.thaw_poll_s),
            places: Semaphore::new(AT_ONCE),
        }
    }

    async fn thaw(&self, company: CompanyId, file: FileId, causation: Causation) -> Result<Outcome, MoveError> {
        let aggregate = FileAggregate { company, file };
        let state = self.repository.load(&aggregate).await?.state;
        if !state.is_restore_requested || state.purged {
            return Ok(Outcome::Done);
        }
        let Some(placed) = self.mover.find(company, file).await? else {
            return Ok(Outcome::Done);
        };
        if !placed.is_cold() {
            let command = Command::RecordTier(StorageTier::Hot);
            self.repository.execute(&aggregate, command, &context(causation)).await?;
            return Ok(Outcome::Done);
        }
        if self.mover.adopt(&placed).await? {
            // Into whichever bucket the bytes are found.
            return Ok(Outcome::NotYet(self.poll));
        }
        if !self.store.restore(&placed.of.object.storage_key).await? {
            return Ok(Outcome::NotYet(self.poll));
        }
        let Ok(_place) = self.places.try_acquire() else { return Ok(Outcome::NoPlace) };
        // Somebody wants to read the file, so that it is not archived again at once.
        let read = [FileKey { company_id: company, file_id: file }];
        note_reads(&mut *self.database.connection().await?, &read, utc_now()).await?;
        let files = placed.files();
        let target = Target { tier: StorageTier::Hot, bucket: self.store.bucket() };
        self.mover.move_to(placed, files, target).await?;
        Ok(Outcome::Done)
    }
}

impl Step for Thaws {
    const CONSUMER: Passing = Passing::Thaws;

    async fn possible(&self) {}

    async fn react(&self, recorded: &Recorded, _attempt: i64) -> Outcome {
        let (Event::File(FileEvent::FileRestoreRequested(_)), Entity::File(file)) =
            (&recorded.event, recorded.subject.aggregate)
        else {
            return Outcome::Done;
        };
        match self.thaw(recorded.subject.company, file, Causation::Event(recorded.position)).await {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics::MOVE_FAILURES.inc();
                tracing::warn!(file_id = %file, %error, "cannot restore an archived file; will try again");
                Outcome::Failed
            }
        }
    }
}
