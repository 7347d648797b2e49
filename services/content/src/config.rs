//! Configuration of the role.

use crate::purges::PurgeHook;
use crate::settings::ContentSettings;
use std::sync::Arc;
use waybill_access::Access;
use waybill_object_store::{Cold, ObjectStore};
use waybill_read_model::Database;
use waybill_repository::Repository;

/// Settings and connections of the role.
#[derive(Clone)]
pub struct Config {
    /// Settings of this role.
    pub settings: ContentSettings,
    /// NATS.
    pub nats: async_nats::Client,
    /// The aggregates of the log.
    pub repository: Arc<Repository>,
    /// The rules of the companies.
    pub access: Arc<Access>,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// The bucket for archived files.
    pub cold: Option<Cold>,
    /// The requests to a content delivery network.
    pub purge_hook: Option<PurgeHook>,
    /// The read model.
    pub database: Database,
}
