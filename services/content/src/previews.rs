//! Makes the previews of files that became readable.

use crate::config::Config;
use crate::consumer::{Outcome, Step};
use crate::context::context;
use crate::failures::Failures;
use crate::metrics;
use crate::new_files::verified_file;
use crate::pace::Pace;
use crate::renderer::{Blame, Refused, RenderError, Renderer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use waybill_access::{Access, AccessError};
use waybill_compression::FileBytes;
use waybill_domain::Refusal;
use waybill_domain::file::{Command, LastScan};
use waybill_domain::location;
use waybill_domain::preview::{self, Candidate, SOURCE_MAX_BYTES, kind_of, kind_of_type, next_step};
use waybill_domain::upload::Phase;
use waybill_event_log::jetstream::Passing;
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::{ObjectStore, StoreError, crc64nvme};
use waybill_render::{Picture, Rendered};
use waybill_repository::{
    ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, Repository, UploadAggregate,
};
use waybill_schema::events::{FileEvent, FileVerified, PreviewFailed, PreviewsMade, UploadEvent};
use waybill_schema::{
    ByteRange, Causation, CompanyId, Entity, Event, FileId, LocationPolicy, PreviewFailure, PreviewSet, Recorded,
    Sha256Digest, StoredVariant, names,
};
use waybill_service_kit::new_id;
use waybill_service_kit::places::Places;

/// Pause before a program that cannot run is tried again.
const TRY_PROGRAM_EVERY: Duration = Duration::from_secs(5);
/// Number of deliveries after which previews that could not be made because of a server are an error in the log.
const MANY_ATTEMPTS: i64 = 100;

/// Connections and limits of the previews.
pub(crate) struct Previews {
    pub(crate) repository: Arc<Repository>,
    access: Arc<Access>,
    store: Arc<dyn ObjectStore>,
    pub(crate) file_bytes: FileBytes,
    pub(crate) renderer: Renderer,
    places: Arc<Places>,
    /// `true` after the program could decode a picture, until it cannot run.
    is_possible: AtomicBool,
    /// Failures that single files may have caused.
    failures: Failures,
    pace: Pace,
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
    Store(#[from] StoreError),
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The metadata could not be removed.
    #[error(transparent)]
    Strip(RenderError),
    /// Other files take all places.
    #[error("other files take all places")]
    NoPlace,
}

/// A verified file.
pub(crate) struct Verified<'a> {
    pub(crate) company: CompanyId,
    pub(crate) file: FileId,
    pub(crate) sha256: Sha256Digest,
    pub(crate) size_bytes: u64,
    /// Key at which the file was verified.
    pub(crate) storage_key: &'a str,
}

/// Right to make previews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It takes a place, of which each company gets its share, or is tried again.
    Place,
    /// The caller limits how much is done at the same time.
    Own,
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

    async fn possible(&self) {
        while !self.is_possible.load(Ordering::Relaxed) {
            match self.renderer.check().await {
                Ok(()) => {
                    self.note_possible(true);
                    tracing::info!("previews can be made");
                }
                Err(error) => {
                    tracing::error!(%error, "previews cannot be made; see WAYBILL_RENDER_SANDBOX");
                    tokio::time::sleep(TRY_PROGRAM_EVERY).await;
                }
            }
        }
    }

    async fn react(&self, recorded: &Recorded, attempt: i64) -> Outcome {
        let company = recorded.subject.company;
        let Some(file) = readable_file(recorded) else { return Outcome::Done };
        if !self.may_have_previews(&recorded.event) && !self.may_be_stripped(company).await {
            return Outcome::Done;
        }
        if !self.places.is_free_for(company) {
            // Events wait without any work, also those whose file gets no previews.
            return Outcome::NoPlace;
        }
        let causation = Causation::Event(recorded.position);
        let error = match self.make(company, file, Turn::Place, false, causation).await {
            Ok(_) => return Outcome::Done,
            Err(PreviewError::NoPlace) => return Outcome::NoPlace,
            // `FileThawed` comes when the file can be read.
            Err(PreviewError::Store(StoreError::Archived { .. })) => return Outcome::Done,
            Err(error) => error,
        };
        tracing::warn!(position = %recorded.position, file_id = %file, %error, "cannot make previews; will try again");
        let Some(reason) = self.reason_of_file(file, &error).await else {
            if attempt == MANY_ATTEMPTS {
                tracing::error!(position = %recorded.position, file_id = %file, %error, "previews of a file wait for a server");
            }
            return Outcome::Failed;
        };
        tracing::error!(position = %recorded.position, file_id = %file, ?reason, "previews of a file are given up");
        if matches!(error, PreviewError::Strip(_)) {
            // The search tries again. Others cannot read the file before that.
            return Outcome::Done;
        }
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
        FileEvent::FileScanned(_)
        | FileEvent::FileReleased(_)
        | FileEvent::FileRestored(_)
        | FileEvent::FileThawed(_) => Some(file),
        FileEvent::FileRenamed(_)
        | FileEvent::FileDeleted(_)
        | FileEvent::FileMetadataChanged(_)
        | FileEvent::FileLabelled(_)
        | FileEvent::FilePurged(_)
        | FileEvent::FileSpaceReleased(_)
        | FileEvent::PreviewsMade(_)
        | FileEvent::PreviewFailed(_)
        | FileEvent::FileArchived(_)
        | FileEvent::FileRestoreRequested(_)
        | FileEvent::LocationStripped(_)
        | FileEvent::FileChecksummed(_) => None,
    }
}

impl Previews {
    pub(crate) fn new(config: &Config, pace: Pace) -> Self {
        Self {
            repository: config.repository.clone(),
            access: config.access.clone(),
            store: config.store.clone(),
            file_bytes: FileBytes::new(config.store.clone()),
            renderer: config.settings.previews.renderer(),
            places: Places::new(config.settings.previews.previews_at_once as usize),
            is_possible: AtomicBool::new(false),
            failures: Failures::default(),
            pace,
        }
    }

    fn note_possible(&self, is_possible: bool) {
        self.is_possible.store(is_possible, Ordering::Relaxed);
        metrics::RENDERER_UP.set(is_possible.into());
    }

    /// Returns `false` if the event itself says that its file gets no previews.
    fn may_have_previews(&self, event: &Event) -> bool {
        let kind = if let Event::Upload(UploadEvent::FileUploaded(uploaded)) = event {
            kind_of_type(uploaded.sniffed_mime_type.as_deref(), &uploaded.started.mime_type)
        } else if let Event::Upload(UploadEvent::FileVerified(FileVerified { sniffed_mime_type: Some(it), .. })) = event
        {
            kind_of_type(Some(it), "")
        } else {
            return true;
        };
        kind.is_some_and(|kind| self.renderer.programs().has(kind))
    }

    /// Returns `true` if the metadata of the files of a company is removed, or if that is unknown.
    async fn may_be_stripped(&self, company: CompanyId) -> bool {
        self.access.rules(company).await.map_or(true, |rules| rules.strip_location() != LocationPolicy::Off)
    }

    /// Returns the reason for a file whose previews failed so often that the file is the reason; `None` if they are tried again.
    async fn reason_of_file(&self, file: FileId, error: &PreviewError) -> Option<PreviewFailure> {
        let (PreviewError::Render(error) | PreviewError::Strip(error)) = error else { return None };
        let reason = match error.blame() {
            Blame::Program => {
                self.note_possible(false);
                // A file that ends a program which can decode others is the reason.
                self.renderer.check().await.ok()?;
                self.note_possible(true);
                PreviewFailure::Failed
            }
            Blame::File(reason) => reason,
            Blame::Nobody => return None,
        };
        let is_hopeless = self.failures.is_hopeless(file, true, Duration::ZERO);
        is_hopeless.then(|| {
            self.failures.forget(file);
            reason
        })
    }

    /// Removes the metadata of a file, and makes its previews, if it is time for that. With `again`, also previews that could not be
    /// made before.
    pub(crate) async fn make(
        &self,
        company: CompanyId,
        file: FileId,
        turn: Turn,
        again: bool,
        causation: Causation,
    ) -> Result<Done, PreviewError> {
        let aggregate = LifecycleAggregate(UploadAggregate { company, upload: file });
        let upload = self.repository.load(&aggregate).await?.state;
        let Phase::Verified { sha256, storage_key } = &upload.phase else { return Ok(Done::Nothing) };
        let programs = self.renderer.programs();
        let policy = self.access.rules(company).await?.strip_location();
        // Most files are of another kind.
        if policy == LocationPolicy::Off && kind_of(&upload).is_none_or(|kind| !programs.has(kind)) {
            return Ok(Done::Nothing);
        }
        let state = self.repository.load(&FileAggregate { company, file }).await?.state;
        let (scans, previews, is_gone) = (&state.scans, &state.previews, state.purged || state.deleted);
        let candidate = Candidate { upload: &upload, scans, previews, is_gone };
        let rules = self.access.scan_rules(company).await?;
        let to_strip = location::next_step(&upload, &state, rules, policy);
        let to_make = next_step(candidate, programs, rules, again);
        let is_work = to_strip == location::Step::Strip || matches!(to_make, preview::Step::Make(_));
        let _place = match turn {
            Turn::Place if is_work => Some(self.places.take(company).ok_or(PreviewError::NoPlace)?),
            Turn::Place | Turn::Own => None,
        };
        // Others wait for a picture without metadata.
        if is_work && to_strip == location::Step::Nothing {
            self.pace.turn().await;
        }
        let size_bytes = upload.grid().size_bytes;
        let verified = Verified { company, file, sha256: *sha256, size_bytes, storage_key };
        self.strip(verified, to_strip, causation).await?;
        match to_make {
            preview::Step::Nothing => Ok(Done::Nothing),
            preview::Step::Fail(reason) => self.record_failure(company, file, reason, causation).await,
            preview::Step::Make(kind) => {
                let content = ContentAggregate { company, sha256: *sha256 };
                let key = self.repository.key_of_file(&content, file, storage_key).await?;
                let beginning = ByteRange { from: 0, to: size_bytes.min(SOURCE_MAX_BYTES) };
                let body = match self.file_bytes.get(&key, size_bytes, beginning).await {
                    Err(StoreError::NotFound { .. }) if self.is_purged(company, file).await? => {
                        return Ok(Done::Nothing);
                    }
                    body => body?,
                };
                match self.renderer.render(kind, body.bytes).await? {
                    Ok(rendered) => self.keep(company, file, rendered, state.last_scan(), causation).await,
                    Err(refused) => {
                        note(company, file, refused);
                        self.record_failure(company, file, refused.reason, causation).await
                    }
                }
            }
        }
    }

    pub(crate) async fn is_purged(&self, company: CompanyId, file: FileId) -> Result<bool, ReadError> {
        Ok(self.repository.load(&FileAggregate { company, file }).await?.state.purged)
    }

    /// Stores previews and records them. If the file has others or was purged in the meantime, they are deleted again.
    async fn keep(
        &self,
        company: CompanyId,
        file: FileId,
        rendered: Rendered,
        seen: LastScan,
        causation: Causation,
    ) -> Result<Done, PreviewError> {
        let set = new_id();
        let key = |picture: &Picture| names::variant_key(company, file, set, picture.variant);
        let keys: Vec<String> = rendered.pictures.iter().map(key).collect();
        let kept = self.store_and_record(company, file, set, rendered, seen, causation).await;
        match &kept {
            Ok(()) => {}
            // The event may have been appended. `waybill reconcile` finds the objects if it was not.
            Err(PreviewError::Append(ExecuteError::Append(AppendError::Unknown(_)))) => {}
            Err(_) => drop(self.store.delete_many(&keys).await),
        }
        kept?;
        let state = self.repository.load(&FileAggregate { company, file }).await?.state;
        if !state.purged && state.previews.keys(company, file) == keys {
            metrics::PREVIEWS.with_label_values(&["made"]).inc();
            return Ok(Done::Made);
        }
        for deleted in self.store.delete_many(&keys).await {
            deleted?;
        }
        Ok(Done::Nothing)
    }

    /// Stores previews, and records them unless the file has changed in the meantime.
    async fn store_and_record(
        &self,
        company: CompanyId,
        file: FileId,
        set: PreviewSet,
        rendered: Rendered,
        seen: LastScan,
        causation: Causation,
    ) -> Result<(), PreviewError> {
        let mut variants = Vec::new();
        for Picture { variant, format, width, height, bytes } in rendered.pictures {
            let (size_bytes, crc) = (bytes.len() as u64, crc64nvme(&bytes));
            self.store.put(&names::variant_key(company, file, set, variant), bytes.into(), crc).await?;
            variants.push(StoredVariant {
                variant,
                mime_type: format.mime_type().to_owned(),
                width,
                height,
                size_bytes,
            });
        }
        let made = PreviewsMade { set, variants, thumbhash: rendered.thumbhash, facts: rendered.facts };
        let command = Command::RecordPreviews { made, seen };
        match self.repository.execute(&FileAggregate { company, file }, command, &context(causation)).await {
            // The file may have been purged in the meantime.
            Ok(_) | Err(ExecuteError::Refused(Refusal::NotFound { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
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

/// Logs that a file has no previews. A program that was ended because of a file may have been attacked.
pub(crate) fn note(company: CompanyId, file: FileId, refused: Refused) {
    let Refused { reason, cause } = refused;
    if cause.is_suspicious() {
        metrics::SUSPICIOUS.inc();
        tracing::error!(company_id = %company, file_id = %file, ?cause, "a file ended the program that makes previews, or changed its answer");
    } else {
        tracing::debug!(company_id = %company, file_id = %file, ?reason, ?cause, "a file has no previews");
    }
}
