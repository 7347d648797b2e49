//! Errors of the read model.

/// The reason why an operation on the read model failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelError {
    /// PostgreSQL does not answer, or no connection of the pool is free.
    #[error("{operation}: PostgreSQL does not answer: {reason}")]
    Unavailable {
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        reason: String,
    },
    /// PostgreSQL refuses the login.
    #[error(
        "{operation}: PostgreSQL refuses the login: {reason}; check the user, the password and the database in the URL"
    )]
    LoginRefused {
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        reason: String,
    },
    /// A statement failed.
    #[error("{operation}: {source}")]
    Query {
        /// The operation that failed.
        operation: &'static str,
        /// The cause.
        source: diesel::result::Error,
    },
    /// A row cannot be converted from or to JSON.
    #[error("{operation}: a row cannot be converted: {source}")]
    Row {
        /// The operation that failed.
        operation: &'static str,
        /// The error of the conversion.
        source: serde_json::Error,
    },
    /// Another projector folds this partition now, or the checkpoint was moved.
    #[error("the checkpoint of partition {partition} was changed by another process")]
    CheckpointLost {
        /// The partition.
        partition: u32,
    },
}

impl ReadModelError {
    pub(crate) fn query(operation: &'static str) -> impl Fn(diesel::result::Error) -> Self {
        move |source| Self::Query { operation, source }
    }

    pub(crate) fn row(operation: &'static str) -> impl Fn(serde_json::Error) -> Self {
        move |source| Self::Row { operation, source }
    }
}

impl From<diesel::result::Error> for ReadModelError {
    fn from(source: diesel::result::Error) -> Self {
        Self::Query { operation: "committing a transaction", source }
    }
}
