//! Uploads that this worker has open in memory. Their state can be read again from the log and from the bucket of
//! midstates, so it is kept only while the upload is in use.

use crate::hashing::{Midstate, RunningHash};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waybill_domain::upload;
use waybill_event_log::{Bucket, ReadError};
use waybill_repository::{Loaded, Repository, UploadAggregate};
use waybill_schema::{CompanyId, UploadId};

/// Time without a request after which an upload is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Time for which a newer request waits until the older one has stored its bytes.
const TAKEOVER: Duration = Duration::from_secs(2);

/// An open upload.
pub(crate) struct OpenUpload {
    pub(crate) aggregate: UploadAggregate,
    pub(crate) loaded: tokio::sync::Mutex<Loaded<upload::State>>,
    pub(crate) hash: Mutex<RunningHash>,
    slots: Mutex<HashMap<u32, Slot>>,
    used_at: Mutex<Instant>,
}

#[derive(Clone)]
struct Slot {
    evicted: CancellationToken,
    freed: Arc<Notify>,
}

/// The right to write one part of an upload, until it is dropped.
pub(crate) struct PartLease {
    upload: Arc<OpenUpload>,
    part_number: u32,
    slot: Slot,
}

impl PartLease {
    /// Waits until a newer request wants the part.
    pub(crate) async fn evicted(&self) {
        self.slot.evicted.cancelled().await;
    }
}

impl Drop for PartLease {
    fn drop(&mut self) {
        let mut slots = locked(&self.upload.slots);
        // A newer lease that stopped waiting may have taken the slot.
        if slots.get(&self.part_number).is_some_and(|slot| Arc::ptr_eq(&slot.freed, &self.slot.freed)) {
            slots.remove(&self.part_number);
        }
        self.slot.freed.notify_one();
    }
}

impl OpenUpload {
    /// Claims a part. Asks an older request for the part to store its bytes, and waits for it for at most [`TAKEOVER`].
    pub(crate) async fn lease(self: &Arc<Self>, part_number: u32) -> PartLease {
        let slot = Slot { evicted: CancellationToken::new(), freed: Arc::default() };
        let older = locked(&self.slots).insert(part_number, slot.clone());
        if let Some(older) = older {
            older.evicted.cancel();
            if tokio::time::timeout(TAKEOVER, older.freed.notified()).await.is_err() {
                tracing::warn!(upload_id = %self.aggregate.upload, part_number, "an older request still holds a part");
            }
        }
        PartLease { upload: self.clone(), part_number, slot }
    }

    pub(crate) fn hash(&self) -> MutexGuard<'_, RunningHash> {
        locked(&self.hash)
    }
}

/// All open uploads.
pub(crate) struct Uploads {
    repository: Arc<Repository>,
    midstates: Bucket,
    open: Mutex<HashMap<UploadId, Arc<OpenUpload>>>,
}

impl Uploads {
    /// Creates an empty set, for uploads that `repository` loads and whose digests are in `midstates`.
    pub(crate) fn new(repository: Arc<Repository>, midstates: Bucket) -> Self {
        Self { repository, midstates, open: Mutex::default() }
    }

    /// Returns the upload if it is open.
    pub(crate) fn get(&self, upload: UploadId) -> Option<Arc<OpenUpload>> {
        locked(&self.open).get(&upload).cloned()
    }

    /// Returns the upload. Opens it if it is not open. Its state may be older than the log.
    pub(crate) async fn open(&self, company: CompanyId, upload: UploadId) -> Result<Arc<OpenUpload>, ReadError> {
        Ok(self.take(company, upload).await?.0)
    }

    /// Returns the upload like [`Self::open`], with its current state in the log.
    pub(crate) async fn open_current(
        &self,
        company: CompanyId,
        upload: UploadId,
    ) -> Result<Arc<OpenUpload>, ReadError> {
        let (open, is_current) = self.take(company, upload).await?;
        if !is_current {
            self.repository.refresh(&open.aggregate, &mut *open.loaded.lock().await).await?;
        }
        Ok(open)
    }

    /// Returns the upload, and `true` if this call read it from the log.
    async fn take(&self, company: CompanyId, upload: UploadId) -> Result<(Arc<OpenUpload>, bool), ReadError> {
        if let Some(open) = self.get(upload).filter(|open| open.aggregate.company == company) {
            *locked(&open.used_at) = Instant::now();
            return Ok((open, false));
        }
        let aggregate = UploadAggregate { company, upload };
        let loaded = self.repository.load(&aggregate).await?;
        let known = match loaded.state.parts.is_empty() {
            true => None,
            false => Midstate::load(&self.midstates, upload, &loaded.state).await,
        };
        let midstate = known.unwrap_or_else(Midstate::new);
        let open = Arc::new(OpenUpload {
            aggregate,
            loaded: tokio::sync::Mutex::new(loaded),
            hash: Mutex::new(RunningHash::new(midstate)),
            slots: Mutex::default(),
            used_at: Mutex::new(Instant::now()),
        });
        // If a concurrent call has opened the upload first, its value is used.
        Ok(match locked(&self.open).entry(upload) {
            Entry::Occupied(theirs) => (theirs.get().clone(), false),
            Entry::Vacant(place) => (place.insert(open).clone(), true),
        })
    }

    /// Closes an upload.
    pub(crate) fn close(&self, upload: UploadId) {
        locked(&self.open).remove(&upload);
    }

    /// Closes uploads that no request has used for [`IDLE`].
    pub(crate) fn close_idle(&self) {
        let in_use = |open: &Arc<OpenUpload>| Arc::strong_count(open) > 1 || locked(&open.used_at).elapsed() < IDLE;
        locked(&self.open).retain(|_, open| in_use(open));
    }
}

/// Locks a mutex. Ignores poisoning, because no holder leaves a change half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
