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
    /// The store does not allow it: the keys lack a right, the object is locked, or the store has no such function.
    #[error("{operation}: the store refuses: {code}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// What the store says: `AccessDenied`, `NotImplemented`, …
        code: String,
    },
    /// It does not answer, or is slow. A write may have happened all the same.
    #[error("{operation}: {reason}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
}
