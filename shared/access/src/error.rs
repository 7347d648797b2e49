//! Error of decisions about access.

use waybill_event_log::ReadError;
use waybill_read_model::ReadModelError;

/// The reason why access cannot be decided at the moment. The caller can try again.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A query to PostgreSQL failed.
    #[error(transparent)]
    ReadModel(#[from] ReadModelError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// This process did not follow the log to its end in time.
    #[error("this process has not followed the log to its end")]
    Behind,
    /// An event of the company's directory is parked because it could not be projected.
    #[error("an event of the company's directory is parked")]
    Parked,
    /// The overlay does not reach back to the checkpoint of the tables.
    #[error("the tables lag too far behind the log")]
    TablesBehind,
}
