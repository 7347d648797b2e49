//! The input of a run.

use serde::Deserialize;

/// Users and duration of a run.
#[derive(Deserialize)]
pub(crate) struct Plan {
    /// URL of the gateway.
    pub(crate) url: String,
    pub(crate) seconds: u64,
    /// Access tokens, one for each tenant.
    pub(crate) tenants: Vec<String>,
    /// Access tokens of users of the tenant that attacks; none for a run without attacks.
    pub(crate) attackers: Vec<String>,
    /// A chatroom of these users.
    pub(crate) chatroom: String,
    /// Letters of the attacks; none for all of them.
    pub(crate) attacks: Vec<String>,
}
