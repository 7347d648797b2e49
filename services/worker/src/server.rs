//! Starts and stops a worker.

use crate::contents::Contents;
use crate::data_plane::{Budget, LocalPlane, Pace, Uploads, ahead_bytes, routes};
use crate::settings::WorkerSettings;
use crate::space::Space;
use crate::{Worker, deletions, reactions, sweep};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;
use waybill_access::Policies;
use waybill_data_plane::DataPlane;
use waybill_data_plane::KEEP_ALIVE;
use waybill_data_plane::signature::{RequestKeys, SignatureChecker};
use waybill_event_log::{Bucket, BucketError, EventLog};
use waybill_http_kit::health::{HealthRoutes, Readiness};
use waybill_http_kit::{listener, request};
use waybill_object_store::{ObjectStore, ReadAhead};
use waybill_read_model::Database;
use waybill_repository::Repository;
use waybill_schema::{WorkerId, names};
use waybill_service_kit::places::Places;
use waybill_service_kit::{Secrets, Shutdown, Tls, new_id};

/// Settings and connections of a worker.
pub struct Config {
    /// Address for gateways of other processes. Port 0 selects a free port. Without an address the worker does not
    /// listen.
    pub addr: Option<SocketAddr>,
    /// Certificate and key for TLS.
    pub tls: Option<Tls>,
    /// Secrets of which one must have signed each request of a gateway. They are needed if there is an address.
    pub secrets: Option<Secrets>,
    /// Settings of this role.
    pub settings: WorkerSettings,
    /// Policies of the companies: limits, retention and accepted media types.
    pub policies: Policies,
    /// The connection behind `log`.
    pub nats: async_nats::Client,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// Quotas of the companies.
    pub repository: Arc<Repository>,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// The read model.
    pub database: Database,
    /// `true` if another listener serves readiness and metrics.
    pub has_operations: bool,
}

/// Reason why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no secrets for the listener.
    #[error("a worker that listens needs WAYBILL_WORKER_SECRET")]
    NoSecrets,
    /// A key-value bucket is missing or does not answer.
    #[error("{0}; run `waybill provision`")]
    Bucket(#[from] BucketError),
    /// The worker cannot listen on the address.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// A running worker.
pub struct Server {
    addr: Option<SocketAddr>,
    plane: LocalPlane,
    readiness: Readiness,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts a worker, which stops when `shutdown` is triggered.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_config(config: Config, shutdown: &Shutdown) -> BoxFuture<'_, Result<Self, StartError>> {
        Box::pin(Self::start(config, shutdown))
    }

    async fn start(config: Config, shutdown: &Shutdown) -> Result<Self, StartError> {
        let budget_mib = config.settings.worker_budget_mib;
        let midstates = Bucket::open(&config.nats, names::MIDSTATES_BUCKET).await?;
        let uploads = Uploads::new(config.repository.clone(), midstates.clone());
        let worker = Arc::new(Worker {
            id: WorkerId(new_id()),
            midstates,
            contents: Contents::new(
                config.repository.clone(),
                config.database.clone(),
                config.store.bucket().to_owned(),
            ),
            space: Space::new(config.repository.clone()),
            repository: config.repository,
            leftovers: Bucket::open(&config.nats, names::LEFTOVERS_BUCKET).await?,
            deletions: deletions::deletions(config.store.clone()),
            read_ahead: ReadAhead::new(config.store.clone(), ahead_bytes(budget_mib)),
            parked: Bucket::open(&config.nats, names::PARKED_BUCKET).await?,
            failures: reactions::Failures::default(),
            signals: Arc::new(config.nats.clone()),
            nats: config.nats.clone(),
            log: config.log,
            store: config.store,
            database: config.database,
            policies: config.policies,
            settings: config.settings,
            uploads,
            budget: Budget::new(budget_mib),
            pace: Pace::default(),
            awaited: reactions::Awaited::default(),
            long: Places::new(reactions::LONG),
            waiting: reactions::waiting(),
        });
        let readiness = readiness(&worker);
        let mut tasks = JoinSet::new();
        for partition in worker.log.partitions().all() {
            tasks.spawn(reactions::run(worker.clone(), config.nats.clone(), partition, shutdown.clone()));
        }
        tasks.spawn(reactions::look_for_objects(worker.clone(), shutdown.clone()));
        tasks.spawn(sweep::run(worker.clone(), shutdown.clone()));
        let plane = LocalPlane(worker.clone());
        let listen = |addr| {
            let keys = RequestKeys::new(&config.secrets.ok_or(StartError::NoSecrets)?);
            let checker = SignatureChecker::new(keys);
            Ok::<_, StartError>(serve(
                addr,
                config.tls,
                checker,
                plane.clone(),
                HealthRoutes::beside_operations(readiness.clone(), config.has_operations),
                shutdown,
                &mut tasks,
            )?)
        };
        let addr = config.addr.map(listen).transpose()?;
        tracing::info!(worker_id = %worker.id, addr = addr.map(tracing::field::display), "worker started");
        Ok(Self { addr, plane, readiness, tasks })
    }

    /// Returns the address on which the worker listens for gateways of other processes.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns the data plane for a gateway of the same process.
    pub fn data_plane(&self) -> Arc<dyn DataPlane> {
        Arc::new(self.plane.clone())
    }

    /// Returns the readiness checks: NATS, the object store and PostgreSQL must answer.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Waits until all tasks of the worker have stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn serve(
    addr: SocketAddr,
    tls: Option<Tls>,
    checker: SignatureChecker,
    plane: LocalPlane,
    health: HealthRoutes,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, std::io::Error> {
    let (plane, checker) = (web::Data::new(plane), web::Data::new(checker));
    let application = move || {
        App::new()
            .wrap(from_fn(request::trace_between_roles))
            .app_data(plane.clone())
            .app_data(checker.clone())
            .configure(|config| health.configure(config))
            .configure(routes)
    };
    let settings = listener::Settings { keep_alive: KEEP_ALIVE, tls, ..listener::Settings::default() };
    listener::listen(addr, settings, application, shutdown, tasks)
}

fn readiness(worker: &Arc<Worker>) -> Readiness {
    Readiness::default()
        .with("nats", worker.log.clone(), |log| async move { log.head(0).await.map(drop) })
        .with("store", worker.store.clone(), |store| async move { store.check().await })
        .with("postgres", worker.database.clone(), |database| async move { database.connection().await.map(drop) })
}
