//! A request with bytes for an upload.

use super::assemble::Staged;
use super::incoming::{IncomingRange, check};
use super::{OpenUpload, PlaneError};
use crate::Worker;
use std::sync::{Arc, Mutex};
use waybill_domain::Refusal;
use waybill_repository::{Context, refresh};

/// A request with bytes for an upload.
pub(super) struct Ingest<'a> {
    pub(super) worker: &'a Worker,
    pub(super) upload: &'a Arc<OpenUpload>,
    pub(super) context: &'a Context,
    pub(super) incoming: &'a IncomingRange,
    /// Staged ranges that do not count yet. `None` if every range counts as soon as it is stored.
    pub(super) held_back: Option<&'a Mutex<Vec<Staged>>>,
}

impl Ingest<'_> {
    async fn check_again(&self) -> Result<(), PlaneError> {
        let Self { worker, upload, incoming, .. } = self;
        refresh(worker.log.as_ref(), &upload.aggregate, &mut *upload.loaded.lock().await).await?;
        check(upload, incoming).await
    }

    /// Returns the reason for a store error. If the upload has ended in the meantime, this is the reason. A changed
    /// offset is not the reason, because this request may have stored some of its bytes itself.
    pub(super) async fn why(&self, error: PlaneError) -> PlaneError {
        let PlaneError::Store(error) = error else { return error };
        match self.check_again().await {
            Ok(()) | Err(PlaneError::Refused(Refusal::OffsetMismatch { .. })) => PlaneError::Store(error),
            Err(ended) => ended,
        }
    }
}
