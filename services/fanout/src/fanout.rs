//! State that all connections of a fan-out share.

use crate::hub::Hub;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use waybill_access::Access;
use waybill_audit::denials::Recorder;
use waybill_event_log::EventLog;
use waybill_http_kit::Origins;
use waybill_http_kit::slots::{Most, Slots};
use waybill_read_model::Database;
use waybill_repository::Repository;
use waybill_service_kit::Shutdown;

/// Maximum number of snapshots that are taken at the same time. It bounds the memory for a burst of subscriptions.
const SNAPSHOTS_AT_ONCE: usize = 32;

/// Maximum number of connections that check their access again at the same time. It leaves connections to PostgreSQL
/// for other requests, whatever a company deletes.
const RECHECKS_AT_ONCE: usize = 6;

/// Permit to take a snapshot, or to check access again.
pub(crate) type Turn<'a> = Option<SemaphorePermit<'a>>;

/// State that all connections share.
pub(crate) struct Fanout {
    pub(crate) hub: Arc<Hub>,
    pub(crate) repository: Repository,
    pub(crate) database: Database,
    pub(crate) access: Arc<Access>,
    pub(crate) shutdown: Shutdown,
    pub(crate) denials: Recorder,
    /// Origins from which browsers may connect, in addition to the fan-out's own origin.
    pub(crate) origins: Origins,
    /// `true` if users who are not registered may connect.
    pub(crate) auto_register: bool,
    /// Limits of the connections of a company and of a client address.
    pub(crate) sockets: Slots,
    /// Start time, from which the ping times of all connections are counted.
    pub(crate) began: Instant,
    snapshots: Semaphore,
    rechecks: Semaphore,
    connections: AtomicU64,
}

impl Fanout {
    pub(crate) fn new(
        hub: Arc<Hub>,
        log: Arc<dyn EventLog>,
        database: Database,
        access: Arc<Access>,
        shutdown: Shutdown,
        denials: Recorder,
    ) -> Self {
        Self {
            hub,
            repository: Repository::new(log),
            database,
            access,
            shutdown,
            denials,
            origins: Origins::default(),
            auto_register: true,
            sockets: Slots::new("WebSockets", Most::UNLIMITED),
            began: Instant::now(),
            snapshots: Semaphore::new(SNAPSHOTS_AT_ONCE),
            rechecks: Semaphore::new(RECHECKS_AT_ONCE),
            connections: AtomicU64::new(1),
        }
    }

    /// Returns the number of a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for a permit to take a snapshot. Dropping the value returns the permit.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.snapshots.acquire().await.ok()
    }

    /// Waits for a permit to check access again. Dropping the value returns the permit.
    pub(crate) async fn recheck_turn(&self) -> Turn<'_> {
        self.rechecks.acquire().await.ok()
    }
}

#[cfg(test)]
impl Fanout {
    /// Creates a fan-out with an empty log in memory, without NATS and PostgreSQL.
    pub(crate) async fn alone() -> Arc<Self> {
        use waybill_domain::scan::ScanRules;
        use waybill_event_log::jetstream::Records;
        use waybill_schema::names::RecordKind;

        let partitions = waybill_schema::Partitions::new(1).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(waybill_event_log::memory::MemoryLog::new(partitions));
        let nats = async_nats::ConnectOptions::new().retry_on_initial_connect().connect("127.0.0.1:1").await.unwrap();
        let config = waybill_read_model::DatabaseConfig {
            url: "postgres://nobody@127.0.0.1:1/nothing".to_owned(),
            schema: "nothing".parse().unwrap(),
            pool_size: 1,
            metadata_keys: waybill_read_model::MetadataKeys::default(),
        };
        let database = Database::new(config).unwrap();
        let shutdown = Shutdown::new();
        let (denials, _) = Recorder::new(Records::new(RecordKind::Refusal, nats, partitions), shutdown.clone());
        let access = Access::new(log.clone(), database.clone(), ScanRules::default());
        let hub = Arc::new(Hub::new(log.clone(), access.clone()));
        Arc::new(Self::new(hub, log, database, access, shutdown, denials))
    }
}
