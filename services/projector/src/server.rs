//! Starts and stops a projector.

use crate::follow::Follower;
use crate::settings::ProjectorSettings;
use crate::share::{self, Share};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::task::JoinSet;
use waybill_event_log::EventLog;
use waybill_http_kit::health::Readiness;
use waybill_read_model::{Database, ReadModelError};
use waybill_service_kit::{Shutdown, new_id};

/// Configuration of a projector.
pub struct Config {
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The read model.
    pub database: Database,
    /// Settings of this role.
    pub settings: ProjectorSettings,
}

/// A running projector.
pub struct Server {
    readiness: Readiness,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts a projector, which stops when `shutdown` is triggered. Creates missing tables.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn from_config(config: Config, shutdown: &Shutdown) -> BoxFuture<'_, Result<Self, ReadModelError>> {
        Box::pin(Self::start(config, shutdown))
    }

    async fn start(config: Config, shutdown: &Shutdown) -> Result<Self, ReadModelError> {
        config.database.migrate().await?;
        let (owner, lease) = (new_id(), config.settings.lease());
        let mut tasks = JoinSet::new();
        let share = Arc::new(Share::new(config.log.partitions().all().count()));
        {
            let (share, database, shutdown) = (share.clone(), config.database.clone(), shutdown.clone());
            tasks.spawn(async move { share::keep(database, owner, lease, &share, shutdown).await });
        }
        for partition in config.log.partitions().all() {
            let follower = Follower {
                log: config.log.clone(),
                database: config.database.clone(),
                partition,
                owner,
                lease,
                share: share.clone(),
            };
            tasks.spawn(follower.run(shutdown.clone()));
        }
        tracing::info!(projector_id = %owner, "projector started");
        let readiness = Readiness::default()
            .with("nats", config.log.clone(), |log| async move { log.head(0).await.map(drop) })
            .with("postgres", config.database.clone(), |database| async move { database.connection().await.map(drop) });
        Ok(Self { readiness, tasks })
    }

    /// Returns the readiness checks: NATS and PostgreSQL must answer.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Waits until all tasks have stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
