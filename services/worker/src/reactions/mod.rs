//! Reactions: the work that a worker does because of events. NATS delivers each event of a partition to a worker, and
//! again until a worker has acknowledged it. Every step of a reaction can be repeated without harm.

mod cleanup;
mod complete;
mod concatenate;
mod consumer;
mod content;
mod dispatch;
mod places;
mod quarantine;
mod sessions;
mod upload_steps;
mod verify;

pub(crate) use consumer::{Failures, run, waiting};
pub(crate) use dispatch::{concerns_us, react};
pub(crate) use places::{Place, Places};
pub(crate) use quarantine::{Awaited, clear, look_for_objects};
pub(crate) use sessions::cancel;
pub(crate) use upload_steps::advance;

use crate::Worker;
use crate::data_plane::PlaneError;
use std::sync::Arc;
use waybill_access::AccessError;
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;
use waybill_schema::CompanyId;

/// Maximum number of a worker's reactions that read or write large objects. Other reactions never wait for them.
pub(crate) const LONG: usize = 32;
/// Number of bytes from which an object counts as large.
const LONG_BYTES: u64 = 8 * 1_024 * 1_024;

/// Reason why a reaction failed. It will be retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReactionError {
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Plane(#[from] PlaneError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    #[error("the projector has not reached the event yet")]
    ProjectionBehind,
    /// The company has as many long reactions as it may have now.
    #[error("the company cannot have another long reaction now")]
    NoPlace,
    /// Error of a batch of several files.
    #[error(transparent)]
    Together(#[from] Arc<ReactionError>),
}

impl ReactionError {
    /// Returns `true` if another worker was faster or there was no place, which is not worth a warning.
    pub(crate) fn is_contention(&self) -> bool {
        matches!(self, Self::NoPlace | Self::Execute(ExecuteError::Append(AppendError::Conflict)))
    }
}

/// Takes a place for a reaction that reads or copies `bytes`. Small amounts need no place.
fn place_for(worker: &Worker, company: CompanyId, bytes: u64) -> Result<Option<Place>, ReactionError> {
    if bytes < LONG_BYTES {
        return Ok(None);
    }
    worker.long.take(company).map(Some).ok_or(ReactionError::NoPlace)
}
