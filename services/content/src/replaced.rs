//! Deletes objects that compressed ones have replaced, some time after the event, so that downloads which read them can end.

use crate::config::Config;
use crate::consumer::{Outcome, Step};
use std::sync::Arc;
use std::time::Duration;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::Passing;
use waybill_object_store::{ObjectStore, StoreError};
use waybill_repository::{ContentAggregate, Repository};
use waybill_schema::events::{ContentCompressed, ContentEvent};
use waybill_schema::{Entity, Event, Recorded};
use waybill_service_kit::now;

/// Connections, and the time for which a replaced object is kept.
pub(crate) struct Replaced {
    repository: Arc<Repository>,
    store: Arc<dyn ObjectStore>,
    kept: Duration,
}

/// Reason why an object was not deleted. It is tried again.
#[derive(Debug, thiserror::Error)]
enum DeleteError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The replaced object may be the only one.
    #[error("the compressed object is missing or has another size")]
    CompressedLost,
}

impl Replaced {
    pub(crate) fn new(config: &Config) -> Self {
        let kept = Duration::from_secs(config.settings.replaced_kept_s);
        Self { repository: config.repository.clone(), store: config.store.clone(), kept }
    }

    /// Deletes the object that was replaced, if the compressed one is there or no file needs either.
    async fn delete(&self, content: ContentAggregate, compressed: &ContentCompressed) -> Result<(), DeleteError> {
        let state = self.repository.load(&content).await?.state;
        let is_used = state.object.is_some_and(|object| object.storage_key == compressed.storage_key);
        if is_used && self.store.size(&compressed.storage_key).await? != Some(compressed.stored_bytes) {
            return Err(DeleteError::CompressedLost);
        }
        Ok(self.store.delete(&compressed.replaced_key).await?)
    }
}

impl Step for Replaced {
    const CONSUMER: Passing = Passing::Replaced;

    async fn possible(&self) {}

    async fn react(&self, recorded: &Recorded, _attempt: i64) -> Outcome {
        let (Event::Content(ContentEvent::ContentCompressed(compressed)), Entity::Content(sha256)) =
            (&recorded.event, recorded.subject.aggregate)
        else {
            return Outcome::Done;
        };
        let age = Duration::from_millis(u64::try_from(now().0 - recorded.envelope.time.0).unwrap_or(0));
        if let Some(pause) = self.kept.checked_sub(age).filter(|pause| !pause.is_zero()) {
            return Outcome::NotYet(pause);
        }
        let content = ContentAggregate { company: recorded.subject.company, sha256 };
        match self.delete(content, compressed).await {
            Ok(()) => Outcome::Done,
            Err(error @ DeleteError::CompressedLost) => {
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
