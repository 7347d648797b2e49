//! Moves the bytes of files between storage tiers: copies an object to the other bucket, checks the bytes on the way, and has the
//! files refer to the copy. The replaced object is deleted later.

use crate::config::Config;
use crate::context::context;
use crate::encoding::{EncodingError, Source, abort_earlier, copy, read_back};
use crate::metrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use waybill_domain::content::{Command, Holder, Moved, Object, State};
use waybill_domain::upload::Phase;
use waybill_event_log::ReadError;
use waybill_object_store::{Cold, ObjectStore, StoreError};
use waybill_read_model::ReadModelError;
use waybill_repository::{
    ContentAggregate, ExecuteError, FileAggregate, LifecycleAggregate, Repository, UploadAggregate,
};
use waybill_schema::{Causation, CompanyId, FileId, Sha256Digest, StorageTier, names};
use waybill_service_kit::new_id;

/// Reason why a file was not moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    #[error(transparent)]
    Tables(#[from] ReadModelError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Append(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The log was restored from a backup, or the store lost the object.
    #[error("the object of the file is missing")]
    Missing,
    /// The object that was replaced may be the only one.
    #[error("the new object is missing or has another size")]
    NewLost,
}

/// Object of a verified file that is not purged.
pub(crate) struct Placed {
    content: ContentAggregate,
    sha256: Sha256Digest,
    pub(crate) of: Holder,
    pub(crate) state: State,
}

impl Placed {
    fn source(&self) -> Source<'_> {
        Source { key: &self.of.object.storage_key, size_bytes: self.of.size_bytes, sha256: self.sha256 }
    }

    /// Returns the upload under whose prefix the object and its successors are: whoever knows one of them finds the others.
    fn owner(&self) -> FileId {
        names::owner(names::OBJECTS, &self.of.object.storage_key).map_or(self.of.file, |(_, upload)| upload)
    }

    /// Returns `true` if the object is in the cold bucket.
    pub(crate) fn is_cold(&self) -> bool {
        names::is_cold(&self.of.object.storage_key)
    }

    /// Returns the files that refer to the object.
    pub(crate) fn files(&self) -> BTreeSet<FileId> {
        let mut files = self.state.references.clone();
        files.insert(self.of.file);
        files
    }
}

/// Place to which an object is moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) tier: StorageTier,
    pub(crate) bucket: &'a str,
}

/// Moves objects.
pub(crate) struct Mover {
    repository: Arc<Repository>,
    store: Arc<dyn ObjectStore>,
    cold: Option<Cold>,
}

impl Mover {
    pub(crate) fn new(config: &Config) -> Self {
        Self { repository: config.repository.clone(), store: config.store.clone(), cold: config.cold.clone() }
    }

    /// Returns where the bytes of a file are; `None` if it is not verified or was purged, or while a worker is about to have it
    /// refer to the object of other files.
    pub(crate) async fn find(&self, company: CompanyId, file: FileId) -> Result<Option<Placed>, ReadError> {
        let upload = self.repository.load(&LifecycleAggregate(UploadAggregate { company, upload: file })).await?.state;
        let size_bytes = upload.grid().size_bytes;
        let Phase::Verified { sha256, storage_key } = upload.phase else { return Ok(None) };
        let is_purged = self.repository.load(&FileAggregate { company, file }).await?.state.purged;
        let content = ContentAggregate { company, sha256 };
        let state = self.repository.load(&content).await?.state;
        let object = match &state.object {
            Some(object) if state.references.contains(&file) => object.clone(),
            Some(_) => return Ok(None),
            None => Object { storage_bucket: self.store.bucket().to_owned(), storage_key },
        };
        let of = Holder { file, object, size_bytes };
        Ok((!is_purged).then_some(Placed { content, sha256, of, state }))
    }

    /// Copies the object to another bucket, and has `files` refer to the copy. Nothing is moved if other files refer to the object
    /// as well, or if it was replaced in the meantime.
    pub(crate) async fn move_to(
        &self,
        placed: Placed,
        files: BTreeSet<FileId>,
        Target { tier, bucket }: Target<'_>,
    ) -> Result<(), MoveError> {
        let source = placed.source();
        let to_cold = tier != StorageTier::Hot;
        if to_cold {
            let prefix = names::objects_prefix(placed.content.company, placed.owner());
            abort_earlier(self.store.as_ref(), &prefix, names::is_cold).await?;
        }
        let key = names::moved_key(placed.content.company, placed.owner(), new_id(), source.key, to_cold);
        let stored_bytes = copy(self.store.as_ref(), source, &key).await?;
        if self.store.size(&key).await? != Some(stored_bytes) {
            return Err(MoveError::NewLost);
        }
        let object = Object { storage_bucket: bucket.to_owned(), storage_key: key.clone() };
        if self.record(&placed, Moved { of: placed.of.clone(), files, object, tier, stored_bytes }).await? {
            metrics::MOVES.with_label_values(&[tier.as_str()]).inc();
            metrics::MOVED_BYTES.with_label_values(&[tier.as_str()]).inc_by(stored_bytes);
            // A purge of the file under whose prefix the copy is may have deleted it before the event.
            if self.store.size(&key).await?.is_none()
                && let Some(placed) = self.find(placed.content.company, placed.of.file).await?
            {
                self.adopt(&placed).await?;
            }
        } else {
            // Another event came first. No event names the copy, and none will.
            self.store.delete(&key).await?;
        }
        Ok(())
    }

    /// Appends the event. Returns `false` if the files do not refer to the new object.
    async fn record(&self, placed: &Placed, moved: Moved) -> Result<bool, MoveError> {
        let key = moved.object.storage_key.clone();
        let context = context(Causation::Request(new_id()));
        self.repository.execute(&placed.content, Command::Move(moved), &context).await?;
        let state = self.repository.load(&placed.content).await?.state;
        Ok(state.object.is_some_and(|object| object.storage_key == key))
    }

    /// Looks for another object with the bytes of the file if its object is missing, because the log was restored from an older
    /// backup than the store. Has the files refer to it and returns `true`; returns `false` if the object is there.
    pub(crate) async fn adopt(&self, placed: &Placed) -> Result<bool, MoveError> {
        if self.store.size(&placed.of.object.storage_key).await?.is_some() {
            return Ok(false);
        }
        for key in self.store.list(&names::objects_prefix(placed.content.company, placed.owner())).await? {
            let (tier, bucket) = match &self.cold {
                Some(cold) if names::is_cold(&key) => (cold.tier, cold.store.bucket()),
                _ => (StorageTier::Hot, self.store.bucket()),
            };
            // An object of an archive class cannot be read. Its bytes were checked when it was written.
            let stored_bytes = match tier {
                StorageTier::Archive => self.store.size(&key).await?,
                StorageTier::Hot | StorageTier::Cold => read_back(self.store.as_ref(), &key, placed.source()).await?,
            };
            let Some(stored_bytes) = stored_bytes else { continue };
            let object = Object { storage_bucket: bucket.to_owned(), storage_key: key };
            let moved = Moved { of: placed.of.clone(), files: placed.files(), object, tier, stored_bytes };
            let (company_id, file_id) = (placed.content.company, placed.of.file);
            tracing::warn!(%company_id, %file_id, "the object of a file is missing; another one with the same bytes is used");
            self.record(placed, moved).await?;
            return Ok(true);
        }
        Err(MoveError::Missing)
    }
}
