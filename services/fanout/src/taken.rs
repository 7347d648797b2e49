//! The result of a request for a subscription, which waits in the outbox until the connection takes it.

use serde_json::Value;
use waybill_api::frames::{Refusal, Topic};

/// State of a topic and the position at which it was read.
pub(crate) struct Snapshot {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) state: Value,
}

/// Result of a request for a subscription.
pub(crate) struct Taken {
    /// Id that the client chose for the subscription.
    pub(crate) id: u64,
    /// Number of the [`Wish`](crate::wish::Wish).
    pub(crate) wish: u64,
    pub(crate) topic: Topic,
    /// Snapshot, or the reason for which the client does not get one.
    pub(crate) outcome: Result<Snapshot, Refusal>,
}
