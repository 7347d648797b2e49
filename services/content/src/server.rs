//! Starts and stops the role `content`.

use crate::config::Config;
use crate::content::Content;
use crate::{consumer, metrics, search};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use waybill_http_kit::health::Readiness;
use waybill_service_kit::Shutdown;

/// The running role.
pub struct Server {
    readiness: Readiness,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts the role, which stops when `shutdown` is triggered. Without the address of clamd it does nothing.
    pub fn from_config(config: Config, shutdown: &Shutdown) -> Self {
        let mut tasks = JoinSet::new();
        let readiness = Readiness::default()
            .with(
                "nats",
                config.repository.clone(),
                |repository| async move { repository.log().head(0).await.map(drop) },
            )
            .with("store", config.store.clone(), |store| async move { store.check().await })
            .with("postgres", config.database.clone(), |database| async move { database.connection().await.map(drop) });
        let Some(content) = Content::new(config).map(Arc::new) else {
            tracing::info!("files are not scanned for viruses, because WAYBILL_CLAMD is not set");
            return Self { readiness, tasks };
        };
        metrics::CLAMD_UP.set(0);
        let (is_on, watching) = watch::channel(false);
        for partition in content.repository.log().partitions().all() {
            tasks.spawn(consumer::run(content.clone(), partition, watching.clone(), shutdown.clone()));
        }
        tasks.spawn(search::run(content, is_on, shutdown.clone()));
        tracing::info!("the role content started");
        Self { readiness, tasks }
    }

    /// Returns the readiness checks: NATS, the object store and PostgreSQL must answer. Without clamd the role is ready, and
    /// waits for it.
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
