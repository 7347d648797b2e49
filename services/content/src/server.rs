//! Starts and stops the role `content`.

use crate::config::Config;
use crate::pace::Pace;
use crate::previews::Previews;
use crate::replaced::Replaced;
use crate::scanner::Scanner;
use crate::thaws::Thaws;
use crate::{background, consumer, metrics, overdue, search};
use futures_util::future::BoxFuture;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use waybill_event_log::jetstream::{Passing, Reactions};
use waybill_http_kit::health::Readiness;
use waybill_service_kit::Shutdown;

/// Interval in which consumers without a purpose are deleted.
const DELETE_EVERY: Duration = Duration::from_secs(60);

/// The running role.
pub struct Server {
    readiness: Readiness,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts the role, which stops when `shutdown` is triggered. Without the address of clamd it scans no files.
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
        let partitions = config.repository.log().partitions().all();
        start_previews(&config, partitions.clone(), &mut tasks, shutdown);
        start_background(&config, partitions.clone(), &mut tasks, shutdown);
        start_purges(&config, partitions.clone(), &mut tasks, shutdown);
        match Scanner::new(&config, Pace::new(config.settings.content_max_busy)).map(Arc::new) {
            None => tracing::info!("files are not scanned for viruses, because WAYBILL_CLAMD is not set"),
            Some(scanner) => {
                metrics::CLAMD_UP.set(0);
                let (is_on, watching) = watch::channel(false);
                for partition in partitions {
                    let (nats, watching) = (config.nats.clone(), watching.clone());
                    tasks.spawn(consumer::run(nats, scanner.clone(), partition, watching, shutdown.clone()));
                }
                tasks.spawn(search::run(scanner, is_on, shutdown.clone()));
            }
        }
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

/// Starts the previews, or deletes their consumers while they are off.
fn start_previews(config: &Config, partitions: Range<u32>, tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
    let (nats, shutdown) = (config.nats.clone(), shutdown.clone());
    if !config.settings.previews.previews {
        tasks.spawn(delete_consumers(nats, Passing::Previews, partitions, shutdown));
        return;
    }
    let previews = Arc::new(Previews::new(config, Pace::new(config.settings.content_max_busy)));
    metrics::RENDERER_UP.set(0);
    let (is_on, watching) = watch::channel(true);
    for partition in partitions {
        tasks.spawn(consumer::run(nats.clone(), previews.clone(), partition, watching.clone(), shutdown.clone()));
    }
    let (database, search_every) = (config.database.clone(), config.settings.search_every());
    tasks.spawn(async move {
        overdue::run(previews, database, search_every, shutdown).await;
        // The consumers follow the sender.
        drop(is_on);
    });
}

/// Starts the compression and the archival, unless they are off, and the deletion of replaced objects and the restoring of archived
/// files in any case.
fn start_background(config: &Config, partitions: Range<u32>, tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
    let (replaced, thaws) = (Arc::new(Replaced::new(config)), Arc::new(Thaws::new(config)));
    let (is_on, watching) = watch::channel(true);
    for partition in partitions {
        let nats = config.nats.clone();
        tasks.spawn(consumer::run(nats.clone(), replaced.clone(), partition, watching.clone(), shutdown.clone()));
        tasks.spawn(consumer::run(nats, thaws.clone(), partition, watching.clone(), shutdown.clone()));
    }
    let (config, shutdown) = (config.clone(), shutdown.clone());
    tasks.spawn(async move {
        background::run(config, shutdown.clone()).await;
        shutdown.triggered().await;
        // The consumers follow the sender.
        drop(is_on);
    });
}

/// Starts the requests to a content delivery network, or deletes their consumers if no network is set.
fn start_purges(config: &Config, partitions: Range<u32>, tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
    let (nats, shutdown) = (config.nats.clone(), shutdown.clone());
    let Some(hook) = config.purge_hook.clone().map(Arc::new) else {
        tasks.spawn(delete_consumers(nats, Passing::Purges, partitions, shutdown));
        return;
    };
    let (is_on, watching) = watch::channel(true);
    for partition in partitions {
        tasks.spawn(consumer::run(nats.clone(), hook.clone(), partition, watching.clone(), shutdown.clone()));
    }
    tasks.spawn(async move {
        shutdown.triggered().await;
        // The consumers follow the sender.
        drop(is_on);
    });
}

/// Deletes consumers without a purpose again and again, because processes with older settings may still end.
async fn delete_consumers(nats: async_nats::Client, consumer: Passing, partitions: Range<u32>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        for partition in partitions.clone() {
            let deleted = shutdown.unless(Reactions::delete(&nats, consumer, partition)).await;
            if let Some(Err(error)) = deleted {
                tracing::warn!(consumer = consumer.durable(), partition, %error, "cannot delete a consumer without a purpose");
            }
        }
        shutdown.unless(tokio::time::sleep(DELETE_EVERY)).await;
    }
}
