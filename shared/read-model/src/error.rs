//! What can go wrong between us and Postgres.

/// Why Postgres did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadModelError {
    /// It does not answer, or there is no free connection.
    #[error("{operation}: Postgres does not answer: {reason}")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
    /// It answers, and does not let us in.
    #[error(
        "{operation}: Postgres refuses the login: {reason}; check the user, the password and the database in the URL"
    )]
    LoginRefused {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
    /// It refused a statement.
    #[error("{operation}: {source}")]
    Query {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        source: diesel::result::Error,
    },
    /// A row is not what the code expects.
    #[error("{operation}: a row cannot be read: {source}")]
    Row {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// Somebody else folds this partition now, or the checkpoint moved.
    #[error("the checkpoint of partition {partition} is no longer ours")]
    CheckpointLost {
        /// Which.
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
