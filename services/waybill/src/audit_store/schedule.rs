//! Compares the object store with the log on a schedule. One process at a time does it.

use super::judge::Judge;
use super::report::{Output, Report};
use super::{Audit, CommandError};
use crate::backing::Stores;
use prometheus::IntGauge;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use waybill_read_model::{Database, locks};
use waybill_repository::Repository;
use waybill_service_kit::metrics::gauge;
use waybill_service_kit::{Shutdown, now};

/// Name of the lock of the process that compares.
const LOCK: &str = "waybill reconcile";

static FOUND: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge("waybill_store_findings", "Differences between the store and the log that the last comparison left")
});

static FOUND_BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_store_findings_bytes", "Bytes of the differences that the last comparison found"));

/// Comparison of the store with the log on a schedule.
pub(crate) struct Schedule {
    pub(crate) stores: Stores,
    pub(crate) database: Database,
    pub(crate) repository: Arc<Repository>,
    /// Pause before each comparison.
    pub(crate) every: Duration,
    /// Minimum age in seconds of the objects that are checked.
    pub(crate) older_than_s: i64,
    /// `true` to delete objects and multipart uploads that nothing refers to.
    pub(crate) deletes: bool,
}

impl Schedule {
    /// Compares the store with the log again and again until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        while shutdown.unless(tokio::time::sleep(self.every)).await.is_some() {
            if let Some(Err(error)) = shutdown.unless(self.compare()).await {
                tracing::warn!(%error, "the store could not be compared with the log; the next comparison begins again");
            }
        }
    }

    async fn compare(&self) -> Result<(), CommandError> {
        // The lock ends with the connection.
        let mut connection = self.database.connection().await?;
        if !locks::try_lock(&mut connection, LOCK).await? {
            tracing::debug!("another process compares the store with the log");
            return Ok(());
        }
        let compared = self.compare_all().await;
        locks::unlock(&mut connection, LOCK).await?;
        compared
    }

    async fn compare_all(&self) -> Result<(), CommandError> {
        let mut audit = Audit {
            store: self.stores.all(),
            stores: self.stores.clone(),
            database: self.database.clone(),
            judge: Judge::new(self.repository.clone()),
            report: Report::new(Output::Log),
            deletes: self.deletes,
            made_before: (now().0 / 1_000).saturating_sub(self.older_than_s),
        };
        audit.run(true).await?;
        let number = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
        FOUND.set(number(audit.report.found - audit.report.deleted));
        FOUND_BYTES.set(number(audit.report.found_bytes));
        audit.report.end().map(drop)
    }
}
