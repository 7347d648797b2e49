//! Compresses and archives files on a thread of its own with the lowest priority.

use crate::archiver::Archiver;
use crate::compressor::Compressor;
use crate::config::Config;
use crate::share::Announced;
use crate::turns::{BEGIN_AGAIN_AFTER, search_on};
use rustix::process::nice;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use waybill_service_kit::Shutdown;

/// Lowest priority of a thread (nice(2)).
const LEAST_PRIORITY: i32 = 19;

/// The work of the thread.
struct Background {
    announced: Arc<Announced>,
    compressor: Option<Compressor>,
    archiver: Option<Archiver>,
    config: Config,
}

/// Compresses and archives files until shutdown, if the settings say so.
pub(crate) async fn run(config: Config, shutdown: Shutdown) {
    let announced = Arc::new(Announced::new(config.database.clone()));
    let work = Background {
        compressor: config.settings.compression.then(|| Compressor::new(&config, announced.clone())),
        archiver: Archiver::new(&config, announced.clone()),
        announced,
        config,
    };
    if work.compressor.is_none() && work.archiver.is_none() {
        return;
    }
    let work = Arc::new(work);
    tokio::join!(work.announced.announce_until(&shutdown), async {
        while !shutdown.is_triggered() {
            if let Err(reason) = on_a_thread(work.clone(), shutdown.clone()).await {
                tracing::error!(reason, "the thread that compresses and archives files ended; another one begins");
                shutdown.unless(tokio::time::sleep(BEGIN_AGAIN_AFTER)).await;
            }
        }
    });
}

/// Works on a new thread until shutdown, or until the thread fails.
async fn on_a_thread(work: Arc<Background>, shutdown: Shutdown) -> Result<(), &'static str> {
    let (runtime, (ended, end)) = (Handle::current(), oneshot::channel());
    let work = move || {
        // On Linux, the priority is that of the thread.
        if let Err(error) = nice(LEAST_PRIORITY) {
            tracing::debug!(%error, "files are compressed with normal priority");
        }
        // A file that is in work when the shutdown begins is tried again.
        runtime.block_on(shutdown.unless(work.search_on()));
        if ended.send(()).is_err() {
            tracing::debug!("nothing waits for the thread that compresses files");
        }
    };
    std::thread::Builder::new().name("compression".to_owned()).spawn(work).map_err(|_| "it cannot start")?;
    end.await.map_err(|_| "it has panicked")
}

impl Background {
    async fn search_on(&self) {
        let config = &self.config;
        let compress = async {
            if let Some(compressor) = &self.compressor {
                search_on(compressor, &self.announced, config, config.settings.search_every()).await;
            }
        };
        let archive = async {
            if let Some(archiver) = &self.archiver {
                let every = Duration::from_secs(config.settings.archive_every_s);
                search_on(archiver, &self.announced, config, every).await;
            }
        };
        tokio::join!(compress, archive);
    }
}
