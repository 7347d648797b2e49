//! What can go wrong between us and the store, by what it means to the caller.

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{operation}: there is no such object")]
    NotFound {
        /// What was tried.
        operation: &'static str,
    },
    /// There is no such multipart upload: it was completed or aborted.
    #[error("{operation}: there is no such multipart upload")]
    NoSuchUpload {
        /// What was tried.
        operation: &'static str,
    },
    /// The bytes that arrived are not those that were sent.
    #[error("{operation}: the store received other bytes than were sent")]
    Corrupt {
        /// What was tried.
        operation: &'static str,
    },
    /// The parts that the object was to be made of are not as they were named: missing, too small, or in another order.
    #[error("{operation}: {code}")]
    PartsInvalid {
        /// What was tried.
        operation: &'static str,
        /// What the store says: `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, …
        code: String,
    },
    /// It does not answer, is slow, or refuses. A write may have happened all the same.
    #[error("{operation}: {reason}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
}
