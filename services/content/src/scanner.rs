//! Connections and limits of the virus scans.

use crate::clamd::Clamd;
use crate::config::Config;
use crate::failures::Failures;
use crate::metrics;
use crate::pace::Pace;
use crate::settings::ContentSettings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use waybill_access::Access;
use waybill_compression::FileBytes;
use waybill_domain::scan::ScanRules;
use waybill_read_model::Database;
use waybill_repository::Repository;
use waybill_schema::ScanPolicy;
use waybill_service_kit::places::Places;

/// Connections and limits of the virus scans.
pub(crate) struct Scanner {
    pub(crate) nats: async_nats::Client,
    pub(crate) repository: Arc<Repository>,
    pub(crate) access: Arc<Access>,
    pub(crate) file_bytes: FileBytes,
    pub(crate) database: Database,
    pub(crate) settings: ContentSettings,
    pub(crate) clamd: Clamd,
    /// `true` after clamd could scan, until it cannot.
    can_scan: AtomicBool,
    /// Places for scans of new files.
    pub(crate) places: Arc<Places>,
    /// Places for scans of large files.
    pub(crate) long: Arc<Places>,
    /// Permits for scans of files that the search finds, so that new files never wait for them.
    pub(crate) searching: Semaphore,
    /// Permit for the scan of a large file that the search finds.
    pub(crate) searching_large: Semaphore,
    pub(crate) failures: Failures,
    pub(crate) pace: Pace,
}

impl Scanner {
    /// Returns `None` without an address of clamd.
    pub(crate) fn new(config: &Config, pace: Pace) -> Option<Self> {
        let at_once = config.settings.scans_at_once as usize;
        Some(Self {
            clamd: Clamd { address: config.settings.clamd.clone()?, timeout: config.settings.clamd_timeout() },
            can_scan: AtomicBool::new(false),
            places: Places::new(at_once),
            long: Places::new((at_once / 2).max(1)),
            searching: Semaphore::new((at_once / 2).max(1)),
            searching_large: Semaphore::new(1),
            failures: Failures::default(),
            pace,
            nats: config.nats.clone(),
            repository: config.repository.clone(),
            access: config.access.clone(),
            file_bytes: FileBytes::new(config.store.clone()),
            database: config.database.clone(),
            settings: config.settings.clone(),
        })
    }

    /// Waits until a file of a company with these rules may be scanned. Somebody may wait for a scan that is required.
    pub(crate) async fn turn(&self, rules: ScanRules) {
        if rules.policy != ScanPolicy::Require {
            self.pace.turn().await;
        }
    }

    /// Returns `true` if clamd could scan when it was last asked, or did so since.
    pub(crate) fn could_scan(&self) -> bool {
        self.can_scan.load(Ordering::Relaxed)
    }

    pub(crate) fn note_whether_clamd_can_scan(&self, can_scan: bool) {
        self.can_scan.store(can_scan, Ordering::Relaxed);
        metrics::CLAMD_UP.set(can_scan.into());
    }
}
