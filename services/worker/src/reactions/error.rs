//! [`ReactionError`]: the reasons why a reaction fails.

use crate::data_plane::PlaneError;
use std::sync::Arc;
use waybill_access::AccessError;
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;

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
