//! The content pipeline, a role of its own: it looks into files after they were verified. Untrusted bytes are processed
//! away from the roles that accept and store them, and slow steps do not delay the verification of other files.
//!
//! At present it scans files for viruses with clamd. A consumer of verified files provides new files; a search in the
//! tables provides files that were verified before their company had them scanned, and files whose scan is old. Each
//! result is an event of the file. Processes of this role share the work and keep no state of their own.

pub mod clamd;
mod consumer;
mod failures;
mod metrics;
mod scan;
mod search;
mod server;
mod settings;

pub use server::{Config, Server};
pub use settings::ContentSettings;

use std::sync::Arc;
use tokio::sync::Semaphore;
use waybill_access::Access;
use waybill_object_store::ObjectStore;
use waybill_read_model::Database;
use waybill_repository::{Context, Repository};
use waybill_schema::{Actor, Causation};
use waybill_service_kit::now;
use waybill_service_kit::places::Places;

/// Connections and limits that all parts of the role use.
pub(crate) struct Content {
    pub(crate) nats: async_nats::Client,
    pub(crate) repository: Arc<Repository>,
    pub(crate) access: Arc<Access>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) database: Database,
    pub(crate) settings: ContentSettings,
    pub(crate) clamd: clamd::Clamd,
    /// Places for scans of new files.
    pub(crate) places: Arc<Places>,
    /// Places for scans of large files.
    pub(crate) long: Arc<Places>,
    /// Permits for scans of files that the search finds, so that new files never wait for them.
    pub(crate) searching: Semaphore,
    /// Permit for the scan of a large file that the search finds.
    pub(crate) searching_large: Semaphore,
    pub(crate) failures: failures::Failures,
}

/// Returns the context of an event that this role appends now because of `causation`.
pub(crate) fn context(causation: Causation) -> Context {
    Context { actor: Actor::Service("content".to_owned()), causation, address: None, clock: now }
}
