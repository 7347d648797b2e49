//! Conversion of errors into problem responses. This module logs internal errors once and tells the client what to do.

use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_event_log::jetstream::BucketError;
use waybill_event_log::{AppendError, ReadError};
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;
use waybill_schema::ErrorCode;
use waybill_service_kit::Problem;

/// An error that can be converted into a response.
pub(crate) trait IntoProblem {
    /// Converts the error and logs it if it is internal. `operation` names the failed operation in the log.
    fn into_problem(self, operation: &'static str) -> Problem;
}

/// Conversion of the error of a result.
pub(crate) trait OrProblem<T> {
    /// Converts the error with [`IntoProblem::into_problem`].
    fn or_problem(self, operation: &'static str) -> Result<T, Problem>;
}

impl<T, E: IntoProblem> OrProblem<T> for Result<T, E> {
    fn or_problem(self, operation: &'static str) -> Result<T, Problem> {
        self.map_err(|error| error.into_problem(operation))
    }
}

impl IntoProblem for Refusal {
    fn into_problem(self, _: &'static str) -> Problem {
        refused(self)
    }
}

/// Returns the problem of a file that was rejected after all its bytes had arrived.
pub(crate) fn rejection(code: &str, message: &str) -> Problem {
    // A newer version can have recorded a code that this version does not know. The message still describes it.
    let code = code.parse().unwrap_or(ErrorCode::Internal);
    Problem::new(422, code, message).with("upload_status", "FAILED")
}

/// Returns the [`rejection`] as an error if the upload was rejected.
pub(crate) fn rejected(phase: &Phase) -> Result<(), Problem> {
    match phase {
        Phase::Rejected { code, message } => Err(rejection(code, message)),
        _ => Ok(()),
    }
}

/// Converts the refusal of a command.
pub(crate) fn refused(refusal: Refusal) -> Problem {
    let status = match &refusal {
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
        Refusal::OffsetMismatch { offset } => problem.with("offset_bytes", offset),
        Refusal::PieceTooSmall { least_bytes, .. } => problem.with("least_bytes", least_bytes),
        Refusal::DownloadRunning => Problem { retry_after_s: Some(2), ..problem },
        Refusal::QuotaExceeded { used_bytes, reserved_bytes, limit_bytes, .. } => problem
            .with("storage_used_bytes", used_bytes)
            .with("storage_reserved_bytes", reserved_bytes)
            .with("storage_limit_bytes", limit_bytes),
        Refusal::FileTooLarge { limit_bytes, .. } | Refusal::SessionTooLarge { limit_bytes, .. } => {
            problem.with("limit_bytes", limit_bytes)
        }
        _ => problem,
    }
}

impl IntoProblem for ReadError {
    fn into_problem(self, operation: &'static str) -> Problem {
        match &self {
            Self::Unavailable(_) => {
                tracing::warn!(operation, error = %self, "cannot read the event log");
                Problem::unavailable("the event log does not answer; try again")
            }
            // The owner of the cached state drops it, so that the next attempt reads all events again.
            Self::Diverged { .. } => {
                tracing::error!(operation, error = %self, "the event log was replaced or restored");
                Problem::unavailable("the event log was restored; try again")
            }
            Self::Undecodable { .. } => {
                tracing::error!(operation, error = %self, "cannot decode an event of an aggregate");
                Problem::internal()
            }
        }
    }
}

impl IntoProblem for AppendError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "cannot append the event");
        Problem::unavailable("the event log cannot store the event now; try again")
    }
}

impl IntoProblem for ExecuteError {
    fn into_problem(self, operation: &'static str) -> Problem {
        match self {
            Self::Refused(refusal) => refused(refusal),
            Self::Read(error) => error.into_problem(operation),
            Self::Append(error) => error.into_problem(operation),
        }
    }
}

impl IntoProblem for BucketError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "the key-value bucket failed");
        Problem::unavailable("the key-value store does not answer; try again")
    }
}

impl IntoProblem for StoreError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "the object store failed");
        Problem::unavailable("the object store does not answer; try again")
    }
}

/// Converts the outcome of deleting an object that is not needed. If the store refuses the deletion, the client gets no
/// error: a worker tries again after the upload has ended.
pub(crate) fn cleaned(outcome: Result<(), StoreError>, operation: &'static str) -> Result<(), Problem> {
    match outcome {
        Err(error @ StoreError::Refused { .. }) => {
            tracing::warn!(operation, %error, "the object store refused to delete an object; a worker will try again");
            Ok(())
        }
        outcome => outcome.or_problem(operation),
    }
}

impl IntoProblem for ReadModelError {
    fn into_problem(self, operation: &'static str) -> Problem {
        if matches!(self, Self::Row { .. }) {
            tracing::error!(operation, error = %self, "cannot decode a row of the read model");
            return Problem::internal();
        }
        tracing::warn!(operation, error = %self, "PostgreSQL failed");
        Problem::unavailable("the read model does not answer; try again")
    }
}
