//! Records the storage tier of files whose bytes were moved, and deletes objects that compressed or moved ones have replaced, some
//! time after the event, so that downloads which read them can end.

use crate::config::Config;
use crate::consumer::{Outcome, Step};
use crate::context::context;
use crate::moving::{MoveError, Mover};
use std::sync::Arc;
use std::time::Duration;
use waybill_domain::Refusal;
use waybill_domain::content::State;
use waybill_domain::file::Command;
use waybill_event_log::jetstream::Passing;
use waybill_object_store::ObjectStore;
use waybill_repository::{ContentAggregate, ExecuteError, FileAggregate, Repository};
use waybill_schema::events::{ContentEvent, ContentMoved};
use waybill_schema::{Causation, Entity, Event, Recorded, StorageTier};
use waybill_service_kit::now;

/// Connections, and the time for which a replaced object is kept.
pub(crate) struct Replaced {
    repository: Arc<Repository>,
    store: Arc<dyn ObjectStore>,
    mover: Mover,
    kept: Duration,
}

/// An object that has replaced another one.
struct Replacement<'a> {
    key: &'a str,
    stored_bytes: u64,
    replaced_key: &'a str,
    moved: Option<&'a ContentMoved>,
}

impl<'a> Replacement<'a> {
    fn of(event: &'a ContentEvent) -> Option<Self> {
        match event {
            ContentEvent::ContentCompressed(compressed) => Some(Self {
                key: &compressed.storage_key,
                stored_bytes: compressed.stored_bytes,
                replaced_key: &compressed.replaced_key,
                moved: None,
            }),
            ContentEvent::ContentMoved(moved) => Some(Self {
                key: &moved.storage_key,
                stored_bytes: moved.stored_bytes,
                replaced_key: &moved.replaced_key,
                moved: Some(moved),
            }),
            ContentEvent::ContentShared(_)
            | ContentEvent::ContentReferenced(_)
            | ContentEvent::ContentReleased(_)
            | ContentEvent::ContentNotCompressed(_) => None,
        }
    }

    fn is_used(&self, state: &State) -> bool {
        state.object.as_ref().is_some_and(|object| object.storage_key == self.key)
    }
}

impl Replaced {
    pub(crate) fn new(config: &Config) -> Self {
        let kept = Duration::from_secs(config.settings.replaced_kept_s);
        Self { repository: config.repository.clone(), store: config.store.clone(), mover: Mover::new(config), kept }
    }

    /// Records the tier of each file that still refers to the object.
    async fn record(
        &self,
        content: &ContentAggregate,
        replacement: &Replacement<'_>,
        causation: Causation,
    ) -> Result<(), MoveError> {
        let Some(moved) = replacement.moved else { return Ok(()) };
        let state = self.repository.load(content).await?.state;
        if (moved.tier == StorageTier::Hot) != state.cold_object().is_none() {
            // The object was moved again. That event names the tier.
            return Ok(());
        }
        for file in moved.file_ids.iter().filter(|file| state.references.contains(file)) {
            let aggregate = FileAggregate { company: content.company, file: *file };
            match self.repository.execute(&aggregate, Command::RecordTier(moved.tier), &context(causation)).await {
                // The file was purged.
                Ok(_) | Err(ExecuteError::Refused(Refusal::NotFound { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Deletes the object that was replaced, if the files have another one or no file needs either.
    async fn delete(&self, content: &ContentAggregate, replacement: &Replacement<'_>) -> Result<(), MoveError> {
        let state = self.repository.load(content).await?.state;
        if let Some(current) = &state.object {
            if current.storage_key == replacement.replaced_key {
                // The new object was missing, and the files refer to the replaced one again.
                return Ok(());
            }
            let size = self.store.size(&current.storage_key).await?;
            let is_there = size.is_some_and(|size| !replacement.is_used(&state) || size == replacement.stored_bytes);
            if !is_there {
                self.find_another(content, &state).await?;
                return Err(MoveError::NewLost);
            }
        }
        Ok(self.store.delete(replacement.replaced_key).await?)
    }

    /// Has the files of the content refer to another object with the same bytes if theirs is missing.
    async fn find_another(&self, content: &ContentAggregate, state: &State) -> Result<(), MoveError> {
        let Some(file) = state.references.first().copied() else { return Ok(()) };
        if let Some(placed) = self.mover.find(content.company, file).await? {
            self.mover.adopt(&placed).await?;
        }
        Ok(())
    }

    async fn react_to(
        &self,
        content: &ContentAggregate,
        replacement: &Replacement<'_>,
        recorded: &Recorded,
    ) -> Result<Outcome, MoveError> {
        self.record(content, replacement, Causation::Event(recorded.position)).await?;
        let age = Duration::from_millis(u64::try_from(now().0 - recorded.envelope.time.0).unwrap_or(0));
        if let Some(pause) = self.kept.checked_sub(age).filter(|pause| !pause.is_zero()) {
            return Ok(Outcome::NotYet(pause));
        }
        self.delete(content, replacement).await?;
        Ok(Outcome::Done)
    }
}

impl Step for Replaced {
    const CONSUMER: Passing = Passing::Replaced;

    async fn possible(&self) {}

    async fn react(&self, recorded: &Recorded, _attempt: i64) -> Outcome {
        let (Event::Content(event), Entity::Content(sha256)) = (&recorded.event, recorded.subject.aggregate) else {
            return Outcome::Done;
        };
        let Some(replacement) = Replacement::of(event) else { return Outcome::Done };
        let content = ContentAggregate { company: recorded.subject.company, sha256 };
        match self.react_to(&content, &replacement, recorded).await {
            Ok(outcome) => outcome,
            Err(error @ MoveError::NewLost) => {
                tracing::error!(position = %recorded.position, %error, "a replaced object is kept");
                Outcome::Failed
            }
            Err(error) => {
                tracing::warn!(position = %recorded.position, %error, "cannot delete a replaced object; will try again");
                Outcome::Failed
            }
        }
    }
}
