//! The data plane: receives bytes from gateways and stores them as parts of objects.

mod assemble;
mod budget;
mod buffer;
mod http;
mod incoming;
mod ingest;
mod keep_part;
mod local;
mod pace;
mod part;
mod read_part;
mod uploads;
mod whole;
mod writer_lease;

pub(crate) use assemble::assemble_part;
pub(crate) use budget::{Budget, ahead_bytes};
pub(crate) use http::routes;
pub(crate) use incoming::IncomingRange;
pub(crate) use ingest::ingest;
pub(crate) use local::LocalPlane;
pub(crate) use pace::Pace;
pub(crate) use uploads::{OpenUpload, Uploads};
pub(crate) use writer_lease::Eviction;

use waybill_access::AccessError;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_event_log::{ReadError, SignalError};
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_repository::ExecuteError;
use waybill_schema::ErrorCode;

/// Reason why bytes were not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    /// The rules of the domain do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log failed or does not answer.
    #[error(transparent)]
    Execute(ExecuteError),
    /// The object store failed or does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes do not match the checksum of the request.
    #[error("the bytes do not match the digest of the request")]
    DigestMismatch,
    /// Other bytes are already stored in this range.
    #[error("other bytes are already stored in this range")]
    Differs,
    /// Some of the bytes are stored inside a part of which only the checksum is known, so they cannot be compared.
    #[error("some of these bytes are already stored and can no longer be compared")]
    Hidden,
    /// The body is longer than its range.
    #[error("the body is longer than the allowed {allowed_bytes} bytes")]
    BodyTooLong {
        /// Maximum length of the body.
        allowed_bytes: u64,
    },
    /// The body ended early. The received bytes are stored.
    #[error("the body ended early")]
    Broken,
    /// A newer request took over. The received bytes are stored.
    #[error("a newer request for the same bytes took over")]
    Evicted,
    /// Newer requests could not be heard.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The policy of the company cannot be read now.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No memory for a part became free in time.
    #[error("the worker has no memory for another part now")]
    NoRoom,
}

impl From<ExecuteError> for PlaneError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::Refused(refusal),
            error => Self::Execute(error),
        }
    }
}

impl From<ReadError> for PlaneError {
    fn from(error: ReadError) -> Self {
        Self::Execute(error.into())
    }
}

impl PlaneError {
    /// Returns the problem that the gateway passes on to the client.
    pub(crate) fn problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Refused(refusal) => refused(refusal.clone()),
            Self::DigestMismatch => {
                Problem::bad_request(ErrorCode::DigestMismatch, format!("{text}; nothing was stored, send them again"))
            }
            Self::Differs => {
                Problem::new(409, ErrorCode::ChunkDiffers, format!("{text}; start a new upload for another file"))
            }
            Self::Hidden => Problem::new(
                409,
                ErrorCode::ChunkDiffers,
                format!("{text}; query the missing ranges, and send only those"),
            ),
            Self::BodyTooLong { .. } => Problem::new(413, ErrorCode::SizeExceeded, text),
            Self::Evicted => Problem::new(409, ErrorCode::Superseded, text),
            Self::Broken => {
                Problem::bad_request(ErrorCode::BodyIncomplete, format!("{text}; query the offset and resume there"))
            }
            Self::NoRoom => Problem::unavailable(format!("{text}; try again")),
            Self::Execute(_) | Self::Store(_) | Self::Signal(_) | Self::Access(_) => {
                Problem::unavailable("the bytes could not be stored now; try again")
            }
        }
    }
}
