//! Errors of the object store, classified by what they mean for the caller.

/// The reason why an operation of the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object does not exist.
    #[error("{operation}: the object does not exist")]
    NotFound {
        /// The operation that failed.
        operation: &'static str,
    },
    /// The storage class of the object does not allow reads before it is restored.
    #[error("{operation}: the object is archived")]
    Archived {
        /// The operation that failed.
        operation: &'static str,
    },
    /// The multipart upload does not exist: it was completed or aborted.
    #[error("{operation}: the multipart upload does not exist")]
    NoSuchUpload {
        /// The operation that failed.
        operation: &'static str,
    },
    /// The checksum of the bytes that the store received is wrong.
    #[error("{operation}: the bytes were corrupted on the way to the store")]
    Corrupt {
        /// The operation that failed.
        operation: &'static str,
    },
    /// The listed parts cannot become an object: a part is missing, too small, or in the wrong order.
    #[error("{operation}: {code}")]
    PartsInvalid {
        /// The operation that failed.
        operation: &'static str,
        /// The error code of the store: `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, …
        code: String,
    },
    /// The store does not allow the operation: the access key lacks a permission, the object is locked, or the store
    /// does not support the operation.
    #[error("{operation}: the store refuses: {code}")]
    Refused {
        /// The operation that failed.
        operation: &'static str,
        /// The error code of the store: `AccessDenied`, `NotImplemented`, …
        code: String,
    },
    /// The store did not answer, or not in time. A write may have succeeded nevertheless.
    #[error("{operation}: {reason}")]
    Unavailable {
        /// The operation that failed.
        operation: &'static str,
        /// The answer of the store, or the error of the connection.
        reason: String,
    },
}
