//! The error of a fold.

/// Error for an event that does not fit the rows that earlier events produced. Contains the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(pub(crate) String);
