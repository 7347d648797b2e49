//! Checks of `waybill doctor` and their results.

use crate::CommandError;

/// A check and its result.
pub(super) struct Check {
    /// Name of the check.
    pub(super) what: String,
    /// The result.
    pub(super) found: Found,
}

impl Check {
    /// Creates a check with its result.
    pub(super) fn new(what: impl Into<String>, found: impl Into<Found>) -> Self {
        Self { what: what.into(), found: found.into() }
    }
}

/// Result of a check.
pub(super) enum Found {
    /// The requirement is met.
    Good(String),
    /// Waybill works, but with a restriction that operators should know.
    Limit(String),
    /// Waybill does not work.
    Wrong(String),
}

impl From<Result<String, String>> for Found {
    fn from(found: Result<String, String>) -> Self {
        found.map_or_else(Self::Wrong, Self::Good)
    }
}

impl From<Result<String, CommandError>> for Found {
    fn from(found: Result<String, CommandError>) -> Self {
        found.map_err(|error| error.to_string()).into()
    }
}
