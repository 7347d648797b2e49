//! The data plane: bytes in, parts out.

mod again;
mod assemble;
mod budget;
mod buffer;
mod hold;
mod http;
mod ingest;
mod local;
mod pace;
mod part;
mod uploads;
mod whole;

pub(crate) use assemble::assemble_part;
pub(crate) use budget::{Budget, ahead_bytes};
pub(crate) use hold::Eviction;
pub(crate) use http::routes;
pub(crate) use ingest::{Run, ingest};
pub(crate) use local::LocalPlane;
pub(crate) use pace::Pace;
pub(crate) use uploads::{OpenUpload, Uploads};

use waybill_access::AccessError;
use waybill_domain::Refusal;
use waybill_event_log::ReadError;
use waybill_object_store::StoreError;
use waybill_repository::ExecuteError;
use waybill_service_kit::Problem;

/// Why bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    /// The rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log does not do its part.
    #[error(transparent)]
    Execute(ExecuteError),
    /// The store does not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes are not those of the digest that came with them.
    #[error("the bytes do not have the digest that was sent with them")]
    DigestMismatch,
    /// Other bytes are stored there already.
    #[error("other bytes are stored there already")]
    Differs,
    /// Some of them are stored within a part, where nothing tells whether they are the same.
    #[error("some of these bytes are stored already, and can no longer be compared")]
    Hidden,
    /// More bytes than the request may bring.
    #[error("the body is longer than the {allowed_bytes} bytes that fit there")]
    BodyTooLong {
        /// How many it may bring.
        allowed_bytes: u64,
    },
    /// The body ended early. What came is stored.
    #[error("the body ended early")]
    Broken,
    /// A newer request took this one's place. What came is stored.
    #[error("a newer request for the same bytes took over")]
    Evicted,
    /// NATS does not take a subscription.
    #[error("newer requests cannot be listened for: {0}")]
    Hold(#[from] async_nats::SubscribeError),
    /// What the company accepts cannot be told now.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No memory for a part within the time.
    #[error("no room for another part now")]
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
    /// The error as the gateway passes it on.
    pub(crate) fn problem(&self) -> Problem {
        let text = self.to_string();
        match self {
            Self::Refused(refusal) => {
                let status = match refusal {
                    Refusal::NotFound { .. } => 404,
                    Refusal::SizeExceeded { .. } => 413,
                    Refusal::TypeRefused { .. } => 415,
                    Refusal::UploadEnded { .. } => 410,
                    Refusal::LengthConflict { .. } | Refusal::PieceTooSmall { .. } => 400,
                    _ => 409,
                };
                let problem = Problem::new(status, refusal.code(), text);
                match refusal {
                    Refusal::OffsetMismatch { offset } => problem.with("offset_bytes", *offset),
                    Refusal::PieceTooSmall { least_bytes, .. } => problem.with("least_bytes", *least_bytes),
                    _ => problem,
                }
            }
            Self::DigestMismatch => {
                Problem::bad_request("digest_mismatch", format!("{text}; nothing was stored, send them again"))
            }
            Self::Differs => Problem::new(409, "chunk_differs", format!("{text}; start a new upload for another file")),
            Self::Hidden => {
                Problem::new(409, "chunk_differs", format!("{text}; ask what is missing, and send only that"))
            }
            Self::BodyTooLong { .. } => Problem::new(413, "size_exceeded", text),
            Self::Evicted => Problem::new(409, "superseded", text),
            Self::Broken => Problem::bad_request("body_incomplete", format!("{text}; ask for the offset and go on")),
            Self::NoRoom => Problem::unavailable(format!("{text}; try again")),
            Self::Execute(_) | Self::Store(_) | Self::Hold(_) | Self::Access(_) => {
                Problem::unavailable("the bytes could not be stored now; try again")
            }
        }
    }
}
