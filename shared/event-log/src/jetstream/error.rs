//! Error of setting up the streams, buckets and consumers.

/// Reason why the server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The server is too old.
    #[error("nats-server {found} is too old: 2.14 or newer is required")]
    ServerTooOld {
        /// Version of the server.
        found: String,
    },
    /// The streams were created with another number of partitions, which cannot change.
    #[error("the streams have {found} partitions, but {wanted} are configured; set WAYBILL_PARTITIONS={found}")]
    Partitions {
        /// Number of partitions of the streams.
        found: u32,
        /// Configured number of partitions.
        wanted: u32,
    },
    /// The streams contain, or may contain, events that this build cannot read.
    #[error("this build of waybill cannot read these events of the log: {events}; install the version that wrote them")]
    TooOld {
        /// The events as `Type.version`, separated by commas.
        events: String,
    },
    /// A definition under `nats/` is not valid.
    #[error("the definition of {what} is not valid: {reason}")]
    Definition {
        /// Kind of the definition.
        what: String,
        /// The reason.
        reason: String,
    },
    /// The server refused or does not answer.
    #[error("cannot set up {what}: {reason}")]
    Server {
        /// The stream or consumer.
        what: String,
        /// The reason.
        reason: String,
    },
}

/// Returns the error for an invalid definition.
pub(super) fn invalid(what: &str, reason: impl std::fmt::Display) -> ProvisionError {
    ProvisionError::Definition { what: what.to_owned(), reason: reason.to_string() }
}

/// Returns the error for a stream or consumer that could not be set up.
pub(super) fn server(what: &str, reason: impl std::fmt::Display) -> ProvisionError {
    ProvisionError::Server { what: what.to_owned(), reason: reason.to_string() }
}
