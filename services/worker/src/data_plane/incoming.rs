//! A request with bytes for an upload: the range that it brings, and the checks whether the upload accepts it.

use super::writer_lease::Eviction;
use super::{OpenUpload, PlaneError};
use crate::Worker;
use std::sync::{Arc, Mutex};
use waybill_data_plane::checksum::Checksum;
use waybill_domain::Refusal;
use waybill_domain::grid::PartGrid;
use waybill_domain::upload::{Phase, State};
use waybill_repository::Context;
use waybill_schema::{ByteRange, Timestamp};
use waybill_service_kit::now;

/// Range of the bytes of a request, and how they are checked.
pub(crate) struct IncomingRange {
    /// Range of the file that the body covers. The body may be shorter.
    pub(crate) range: ByteRange,
    /// Checksum of the body. If the body has another one, none of its bytes count.
    pub(crate) checksum: Option<Checksum>,
    /// `true` if the range must begin at the upload's offset.
    pub(crate) sequential: bool,
    /// Signal that a newer request for the upload has arrived.
    pub(crate) eviction: Eviction,
}

impl IncomingRange {
    /// Returns `true` if stored ranges count only after the whole body was received. This is so if the checksum of the
    /// body covers more than one part. A body within one part is checked in memory.
    fn is_held_back(&self, state: &State) -> bool {
        let grid = state.grid();
        let last = self.range.to.saturating_sub(1);
        self.checksum.is_some() && grid.part_at(self.range.from) != grid.part_at(last)
    }
}

/// A range in a staged object that is not recorded in the log yet.
pub(super) struct Staged {
    pub(super) offset: u64,
    pub(super) storage_key: String,
    pub(super) length: u64,
    pub(super) crc64nvme: u64,
    pub(super) etag: String,
}

/// A request with bytes for an upload.
pub(super) struct Ingest<'a> {
    pub(super) worker: &'a Worker,
    pub(super) upload: &'a Arc<OpenUpload>,
    pub(super) context: &'a Context,
    pub(super) incoming: &'a IncomingRange,
    /// Part grid of the upload. The size of its parts does not change.
    pub(super) grid: PartGrid,
    /// Staged ranges that do not count yet. `None` if every range counts as soon as it is stored.
    pub(super) held_back: Option<&'a Mutex<Vec<Staged>>>,
}

impl Ingest<'_> {
    async fn check_again(&self) -> Result<(), PlaneError> {
        let Self { worker, upload, incoming, .. } = self;
        worker.repository.refresh(&upload.aggregate, &mut *upload.loaded.lock().await).await?;
        check(upload, incoming).await.map(drop)
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

/// Returns an error if the upload had expired at `time`, so that a slow request cannot continue after the expiry.
pub(super) fn check_time(state: &State, time: Timestamp) -> Result<(), PlaneError> {
    let over = state.started.as_ref().is_some_and(|started| time >= started.expires_at);
    if over && state.phase == Phase::Active {
        return Err(Refusal::UploadEnded { status: "expired" }.into());
    }
    Ok(())
}

/// Results of the checks of a request.
pub(super) struct Accepted {
    pub(super) grid: PartGrid,
    /// `true` if stored ranges count only after the whole body was received.
    pub(super) holds_back: bool,
}

/// Checks that the upload accepts the range, according to its loaded state.
pub(super) async fn check(upload: &OpenUpload, incoming: &IncomingRange) -> Result<Accepted, PlaneError> {
    let range = incoming.range;
    let loaded = upload.loaded.lock().await;
    let state = &loaded.state;
    check_time(state, now())?;
    let complete = matches!(state.phase, Phase::Verifying | Phase::Verified { .. });
    if !complete {
        state.check_takes_bytes()?;
    }
    let offset = state.stored.prefix();
    if incoming.sequential && range.from != offset {
        return Err(Refusal::OffsetMismatch { offset }.into());
    }
    let accepted = Accepted { grid: state.grid(), holds_back: incoming.is_held_back(state) };
    // A repeated chunk of a complete upload is harmless: it is read, compared and discarded.
    if complete && state.stored.contains(range) {
        return Ok(accepted);
    }
    state.check_takes_bytes()?;
    let size_bytes = state.grid().size_bytes;
    if range.to > size_bytes {
        return Err(Refusal::SizeExceeded { size_bytes }.into());
    }
    Ok(accepted)
}

/// Returns an error for bytes that arrived after the upload had ended, unless the range is already stored.
pub(super) fn still_takes(state: &State, range: ByteRange) -> Result<(), Refusal> {
    if state.stored.contains(range) { Ok(()) } else { state.check_takes_bytes() }
}
