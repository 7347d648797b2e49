//! Makes the previews of files that became readable.

use crate::config::Config;
use crate::consumer::{Outcome, Step};
use crate::context::context;
use crate::metrics;
use crate::new_files::verified_file;
use crate::objects::{ObjectError, existing_key};
use crate::renderer::{RenderError, Renderer};
use std::sync::Arc;
use waybill_access::{Access, AccessError};
use waybill_domain::Refusal;
use waybill_domain::file::Command;
use waybill_domain::preview::{self, Candidate, next_step};
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_event_log::jetstream::Passing;
use waybill_object_store::{ObjectStore, StoreError, crc64nvme};
use waybill_render::Rendered;
use waybill_repository::{
    ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, Repository, UploadAggregate,
};
use waybill_schema::events::{FileEvent, PreviewFailed, PreviewsMade};
use waybill_schema::{Causation, CompanyId, Entity, Event, FileId, PreviewFailure, Recorded, StoredVariant, names};
use waybill_service_kit::new_id;
use waybill_service_kit::places::Places;

/// Number of deliveries after which a program that was too slow counts as a fault of the file.
const TOO_SLOW_MAX: i64 = 3;
/// Number of deliveries after which previews are given up if the file cannot be read.
const ATTEMPTS_MAX: i64 = 100;

/// Connections and limits of the previews.
pub(crate) struct Previews {
    repository: Arc<Repository>,
    access: Arc<Access>,
    store: Arc<dyn ObjectStore>,
    pub(crate) renderer: Renderer,
    places: Arc<Places>,
}

/// Reason why previews were not made. They are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] ExecuteError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Result of looking at a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Nothing: the file has previews or gets none.
    Nothing,
    Made,
    Failed,
}

impl Step for Previews {
    const CONSUMER: Passing = Passing::Previews;

    async fn possible(&self) {}

    async fn react(&self, recorded: &Recorded, attempt: i64) -> Outcome {
        let Some(file) = readable_file(recorded) else { return Outcome::Done };
        let company = recorded.subject.company;
        let Some(_place) = self.places.take(company) else { return Outcome::NoPlace };
        let causation = Causation::Event(recorded.position);
        let Err(error) = self.make(company, file, false, causation).await else { return Outcome::Done };
        let is_hopeless = match &error {
            PreviewError::Render(RenderError::TooSlow) => attempt >= TOO_SLOW_MAX,
            PreviewError::Log(_)
            | PreviewError::Append(_)
            | PreviewError::Access(_)
            | PreviewError::Object(_)
            | PreviewError::Store(_)
            | PreviewError::Render(_) => attempt >= ATTEMPTS_MAX,
        };
        tracing::warn!(position = %recorded.position, file_id = %file, %error, is_hopeless, "cannot make previews");
        if !is_hopeless {
            return Outcome::Failed;
        }
        let reason = match error {
            PreviewError::Render(RenderError::TooSlow) => PreviewFailure::LimitsExceeded,
            _ => PreviewFailure::Failed,
        };
        match self.record_failure(company, file, reason, causation).await {
            Ok(_) => Outcome::Done,
            Err(_) => Outcome::Failed,
        }
    }
}

/// Returns the file that an event may make readable.
fn readable_file(recorded: &Recorded) -> Option<FileId> {
    let (Event::File(event), Entity::File(file)) = (&recorded.event, recorded.subject.aggregate) else {
        return verified_file(recorded);
    };
    match event {
        FileEvent::FileScanned(_) | FileEvent::FileReleased(_) => Some(file),
        FileEvent::FileRenamed(_)
        | FileEvent::FileDeleted(_)
        | FileEvent::FileRestored(_)
        | FileEvent::FileMetadataChanged(_)
        | FileEvent::FilePurged(_)
        | FileEvent::FileSpaceReleased(_)
        | FileEvent::PreviewsMade(_)
        | FileEvent::PreviewFailed(_) => None,
    }
}

impl Previews {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            repository: config.repository.clone(),
            access: config.access.clone(),
            store: config.store.clone(),
            renderer: config.settings.renderer(),
            places: Places::new(config.settings.previews_at_once as usize),
        }
    }

    /// Makes and records the previews of a file if it is time for that. With `again`, also if they could not be made before.
    pub(crate) async fn make(
        &self,
        company: CompanyId,
        file: FileId,
        again: bool,
        causation: Causation,
    ) -> Result<Done, PreviewError> {
        let aggregate = LifecycleAggregate(UploadAggregate { company, upload: file });
        let upload = self.repository.load(&aggregate).await?.state;
        let (Phase::Verified { sha256, storage_key }, Some(started)) = (&upload.phase, &upload.started) else {
            return Ok(Done::Nothing);
        };
        // Most files are of another kind.
        if !preview::is_supported(upload.sniffed_mime_type.as_deref().unwrap_or(&started.mime_type)) {
            return Ok(Done::Nothing);
        }
        let state = self.repository.load(&FileAggregate { company, file }).await?.state;
        let (scans, previews, is_purged) = (&state.scans, &state.previews, state.purged);
        let candidate = Candidate { upload: &upload, scans, previews, is_purged };
        match next_step(candidate, self.access.scan_rules(company).await?, again) {
            preview::Step::Nothing => Ok(Done::Nothing),
            preview::Step::Fail(reason) => self.record_failure(company, file, reason, causation).await,
            preview::Step::Make => {
                let content = ContentAggregate { company, sha256: *sha256 };
                let key = existing_key(self.store.as_ref(), &self.repository, content, file, storage_key).await;
                let key = match key {
                    Err(ObjectError::Store(StoreError::NotFound { .. })) if self.is_purged(company, file).await? => {
                        return Ok(Done::Nothing);
                    }
                    key => key?,
                };
                let body = self.store.get(&key, 0, None).await?;
                match self.renderer.render(body.bytes).await? {
                    Ok(rendered) => self.keep(company, file, rendered, causation).await,
                    Err(reason) => self.record_failure(company, file, reason, causation).await,
                }
            }
        }
    }

    async fn is_purged(&self, company: CompanyId, file: FileId) -> Result<bool, ReadError> {
        Ok(self.repository.load(&FileAggregate { company, file }).await?.state.purged)
    }

    /// Stores previews and records them. If the file has others or was purged in the meantime, they are deleted again.
    async fn keep(
        &self,
        company: CompanyId,
        file: FileId,
        rendered: Rendered,
        causation: Causation,
    ) -> Result<Done, PreviewError> {
        let set = new_id();
        let (mut variants, mut keys) = (Vec::new(), Vec::new());
        for picture in rendered.pictures {
            let key = names::variant_key(company, file, set, picture.variant);
            let size_bytes = picture.bytes.len() as u64;
            let crc = crc64nvme(&picture.bytes);
            self.store.put(&key, picture.bytes.into(), crc).await?;
            keys.push(key);
            let (variant, mime_type) = (picture.variant, picture.mime_type);
            variants.push(StoredVariant {
                variant,
                mime_type,
                width: picture.width,
                height: picture.height,
                size_bytes,
            });
        }
        let made = PreviewsMade { set, variants, thumbhash: rendered.thumbhash, facts: rendered.facts };
        let command = Command::RecordPreviews(made);
        let aggregate = FileAggregate { company, file };
        match self.repository.execute(&aggregate, command, &context(causation)).await {
            Ok(_) | Err(ExecuteError::Refused(Refusal::NotFound { .. })) => {}
            // The event may have been appended. `waybill reconcile` finds the objects if it was not.
            Err(error) => return Err(error.into()),
        }
        let state = self.repository.load(&aggregate).await?.state;
        if !state.purged && state.previews.keys(company, file) == keys {
            metrics::PREVIEWS.with_label_values(&["made"]).inc();
            return Ok(Done::Made);
        }
        for deleted in self.store.delete_many(&keys).await {
            deleted?;
        }
        Ok(Done::Nothing)
    }

    async fn record_failure(
        &self,
        company: CompanyId,
        file: FileId,
        reason: PreviewFailure,
        causation: Causation,
    ) -> Result<Done, PreviewError> {
        let command = Command::RecordPreviewFailure(PreviewFailed { reason });
        match self.repository.execute(&FileAggregate { company, file }, command, &context(causation)).await {
            Ok(_) => {
                metrics::PREVIEWS.with_label_values(&[reason.as_str()]).inc();
                Ok(Done::Failed)
            }
            Err(ExecuteError::Refused(Refusal::NotFound { .. })) => Ok(Done::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}
