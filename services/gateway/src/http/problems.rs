//! Conversion of errors into problem responses. This module logs internal errors once and tells the client what to do.

use waybill_access::AccessError;
use waybill_api::ProblemDetails;
use waybill_data_plane::refused;
use waybill_domain::Refusal;
use waybill_domain::upload::Phase;
use waybill_event_log::{AppendError, BucketError, ReadError};
use waybill_http_kit::Problem;
use waybill_object_store::StoreError;
use waybill_read_model::ReadModelError;
use waybill_repository::ExecuteError;
use waybill_schema::ErrorCode;

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

/// Returns a problem as the part of an answer.
pub(crate) fn details(problem: &Problem) -> Result<ProblemDetails, Problem> {
    serde_json::from_value(problem.to_json()).map_err(|_| Problem::internal())
}

/// Returns the problem of a file that was rejected after all its bytes had arrived.
pub(crate) fn rejection(code: &str, message: &str) -> Problem {
    // A newer version can have recorded a code that this version does not know. The message still describes it.
    let code = code.parse().unwrap_or(ErrorCode::Internal);
    Problem::new(422, code, message).with(|members| members.upload_status = Some("FAILED".to_owned()))
}

/// Returns the [`rejection`] as an error if the upload was rejected.
pub(crate) fn rejected(phase: &Phase) -> Result<(), Problem> {
    match phase {
        Phase::Rejected { code, message } => Err(rejection(code, message)),
        _ => Ok(()),
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

/// Access is denied if it cannot be decided.
impl IntoProblem for AccessError {
    fn into_problem(self, operation: &'static str) -> Problem {
        tracing::warn!(operation, error = %self, "cannot decide access");
        Problem::unavailable("Access rights cannot be checked at the moment. Try again.")
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
