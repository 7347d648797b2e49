//! Errors into answers, in this one place. What went wrong inside is logged here, once; the client is told what to do.

use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_event_log::jetstream::BucketError;
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;
use waybill_service_kit::Problem;

/// An error that becomes an answer.
pub(crate) trait IntoProblem {
    /// The answer; `operation` says in the log what was tried.
    fn into_problem(self, operation: &'static str) -> Problem;
}

impl IntoProblem for Refusal {
    fn into_problem(self, _: &'static str) -> Problem {
        refused(&self)
    }
}

/// The answer where a file was refused when all of it was there.
pub(crate) fn rejection(code: &str, message: &str) -> Problem {
    Problem::new(422, code, message).with("upload_status", "FAILED")
}

/// The same for an upload in whichever phase: nothing unless it was refused.
pub(crate) fn rejected(phase: &Phase) -> Result<(), Problem> {
    match phase {
        Phase::Rejected { code, message } => Err(rejection(code, message)),
        _ => Ok(()),
    }
}

/// The answer to a command that the rules do not allow.
pub(crate) fn refused(refusal: &Refusal) -> Problem {
    let status = match refusal {
        Refusal::NotFound { .. } => 404,
        Refusal::NotRegistered => 403,
        Refusal::NameInvalid { .. }
        | Refusal::SettingsInvalid { .. }
        | Refusal::ShareInvalid { .. }
        | Refusal::TokenInvalid { .. } => 422,
        Refusal::TypeRefused { .. } => 415,
        Refusal::FileTooLarge { .. }
        | Refusal::SizeExceeded { .. }
        | Refusal::QuotaExceeded { .. }
        | Refusal::MetadataTooLarge
        | Refusal::SessionTooLarge { .. } => 413,
        Refusal::UploadEnded { .. } | Refusal::TokenEnded { .. } => 410,
        Refusal::DownloadRunning => 429,
        Refusal::SessionEnded { .. }
        | Refusal::UploadCompleted { .. }
        | Refusal::ChunksMissing { .. }
        | Refusal::IdTaken { .. }
        | Refusal::OffsetMismatch { .. }
        | Refusal::LengthUnknown
        | Refusal::PartialUnfit { .. }
        | Refusal::FileNotDeleted
        | Refusal::DirectoryFull { .. }
        | Refusal::FileDeleted => 409,
        Refusal::LengthConflict { .. } | Refusal::MetadataInvalid { .. } | Refusal::PieceTooSmall { .. } => 400,
    };
    let problem = Problem::new(status, refusal.code(), refusal.to_string());
    match refusal {
        Refusal::ChunksMissing { missing } => {
            let missing: Vec<[u64; 2]> = missing.iter().map(|gap| [gap.from, gap.to]).collect();
            problem.with("missing", serde_json::json!(missing))
        }
        Refusal::OffsetMismatch { offset } => problem.with("offset_bytes", *offset),
        Refusal::PieceTooSmall { least_bytes, .. } => problem.with("least_bytes", *least_bytes),
        Refusal::DownloadRunning => Problem { retry_after_s: Some(2), ..problem },
        Refusal::QuotaExceeded { used_bytes, reserved_bytes, limit_bytes, .. } => problem
            .with("storage_used_bytes", *used_bytes)
            .with("storage_reserved_bytes", *reserved_bytes)
            .with("storage_limit_bytes", *limit_bytes),
        Refusal::FileTooLarge { limit_bytes, .. } | Refusal::SessionTooLarge { limit_bytes, .. } => {
            problem.with("limit_bytes", *limit_bytes)
        }
        _ => problem,
    }
}

impl IntoProblem for ReadError {
    fn into_problem(self, operation: &'static str) -> Problem {
        match &self {
            Self::Unavailable(_) => {
                tracing::warn!(operation, error = %self, "the event log is not read");
                Problem::unavailable("the event log does not answer; try again")
            }
            // What was kept of it is dropped by whoever kept it: the next try begins anew.
            Self::Diverged { .. } => {
                tracing::error!(operation, error = %self, "the event log is another one");
                Problem::unavailable("the event log was restored; try again")
            }
            Self::Undecodable { .. } => {
                tracing::error!(operation, error = %self, "an aggregate cannot be read");
                Problem::internal()
            }
        }
    }
}

impl IntoProblem for AppendError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "an event is not appended");
        Problem::unavailable("the event log does not take the event now; try again")
    }
}

impl IntoProblem for ExecuteError {
    fn into_problem(self, operation: &'static str) -> Problem {
        match self {
            Self::Refused(refusal) => refused(&refusal),
            Self::Read(error) => error.into_problem(operation),
            Self::Append(error) => error.into_problem(operation),
        }
    }
}

impl IntoProblem for BucketError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "a bucket does not answer");
        Problem::unavailable("the key-value store does not answer; try again")
    }
}

impl IntoProblem for StoreError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "the object store does not do its part");
        Problem::unavailable("the object store does not answer; try again")
    }
}

/// The outcome of deleting what is not needed. What the store does not allow to be deleted is no matter of the client's:
/// a worker comes back to it when the upload has ended.
pub(crate) fn cleaned(outcome: Result<(), StoreError>, operation: &'static str) -> Result<(), Problem> {
    match outcome {
        Err(error @ StoreError::Refused { .. }) => {
            tracing::warn!(operation, %error, "something stays in the store for now");
            Ok(())
        }
        outcome => outcome.map_err(|error| error.into_problem(operation)),
    }
}

impl IntoProblem for ReadModelError {
    fn into_problem(self, operation: &'static str) -> Problem {
        if matches!(self, Self::Row { .. }) {
            tracing::error!(operation, error = %self, "a row cannot be read");
            return Problem::internal();
        }
        tracing::warn!(operation, error = %self, "Postgres does not do its part");
        Problem::unavailable("the read model does not answer; try again")
    }
}
