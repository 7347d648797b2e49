//! State that all uploads of one command share.

use super::args::Protocol;
use crate::api::Api;
use crate::output::Output;
use crate::retry::PatienceArgs;
use crate::state::StateFolder;
use indicatif::ProgressBar;
use tokio::sync::Semaphore;

/// State that all uploads of one command share.
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) output: Output,
    pub(super) state: StateFolder,
    /// One permit for each request with bytes.
    pub(super) requests: Semaphore,
    pub(super) patience: PatienceArgs,
    pub(super) protocol: Protocol,
    pub(super) resume: bool,
    pub(super) total: ProgressBar,
}
