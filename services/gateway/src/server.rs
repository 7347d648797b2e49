//! Start and stop of a gateway.

use crate::admission;
use crate::application::append_order::Turns;
use crate::application::gateway::{Gateway, StartedCache};
use crate::application::head_key::HeadKey;
use crate::application::idempotency::Idempotency;
use crate::application::quota_reservation::Reserver;
use crate::application::read_your_writes::Positions;
use crate::application::registration::Registration;
use crate::application::small_bodies::SmallBodies;
use crate::application::tokens::Tokens;
use crate::http::cursor::CursorKey;
use crate::http::openapi;
use crate::http::rate_limit::{Limiter, Rates};
use crate::routes;
use crate::settings::GatewaySettings;
use crate::workers::RemoteWorkers;
use crate::workers::{WorkerPool, WorkerUrlError};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use waybill_access::Policies;
use waybill_access::refusals::Keeper;
use waybill_data_plane::DataPlane;
use waybill_event_log::EventLog;
use waybill_event_log::jetstream::{Bucket, BucketError, RawEvents, Refusals};
use waybill_object_store::ObjectStore;
use waybill_object_store::presign::Presigner;
use waybill_read_model::Database;
use waybill_repository::{Directories, Repository};
use waybill_schema::names;
use waybill_service_kit::health::Readiness;
use waybill_service_kit::{Authenticator, Origins, Proxies, Shutdown, Tls, health, listener, request};

/// Time within which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Routes of another service that the gateway serves on its address.
pub struct Routes {
    /// Adds the routes to an application.
    pub configure: Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>,
    /// Description of the routes for the OpenAPI document.
    pub api: utoipa::openapi::OpenApi,
}

/// Configuration and dependencies of a gateway.
pub struct Config {
    /// Settings of this role. Port 0 of the address selects any free port.
    pub settings: GatewaySettings,
    /// TLS configuration. Without it, the gateway serves plain HTTP.
    pub tls: Option<Tls>,
    /// Workers that receive the bytes of uploads.
    pub workers: Workers,
    /// Secret with which gateways authenticate to workers, at least 32 bytes. The keys for cursors, download tokens and
    /// audit heads are derived from it.
    pub worker_secret: String,
    /// Verifies access tokens.
    pub authenticator: Authenticator,
    /// Limits of uploads per company, and the access rules.
    pub policies: Policies,
    /// Trusted reverse proxies in front of the gateway.
    pub proxies: Proxies,
    /// Time after which an idle client connection is closed.
    pub keep_alive: Duration,
    /// Origins of web pages that may use the API (CORS).
    pub allowed_origins: Vec<String>,
    /// The NATS connection that `log` uses.
    pub nats: async_nats::Client,
    /// The aggregates of `log`.
    pub repository: Arc<Repository>,
    /// The events as they are stored, for the audit export.
    pub raw_events: RawEvents,
    /// The refused requests, for the audit.
    pub refusals: Refusals,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// Signs requests to the object store for clients.
    pub presigner: Presigner,
    /// The read model.
    pub database: Database,
    /// A replica of the read model for queries.
    pub replica: Option<Database>,
    /// Routes of other services on the same address.
    pub more_routes: Vec<Routes>,
    /// Readiness checks of those services.
    pub more_readiness: Readiness,
}

/// Workers that receive the bytes of uploads.
pub enum Workers {
    /// URLs of workers in other processes. A host name stands for all addresses that it resolves to.
    Remote(Vec<String>),
    /// The worker of this process.
    Local(Arc<dyn DataPlane>),
}

/// Error of the start of a gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The worker secret has fewer than 32 bytes.
    #[error("WAYBILL_WORKER_SECRET must have at least 32 bytes")]
    SecretTooShort,
    /// The URL of a worker is invalid.
    #[error(transparent)]
    WorkerUrl(#[from] WorkerUrlError),
    /// A key-value bucket is missing or does not answer.
    #[error("{0}; run `waybill provision`")]
    Bucket(#[from] BucketError),
    /// The gateway cannot listen on its address.
    #[error("cannot listen on the address: {0}")]
    Listen(#[from] std::io::Error),
}

/// A running gateway.
pub struct Server {
    addr: SocketAddr,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts a gateway; it stops when `shutdown` is triggered.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn from_config(config: Config, shutdown: &Shutdown) -> BoxFuture<'_, Result<Self, StartError>> {
        Box::pin(Self::start(config, shutdown))
    }

    async fn start(config: Config, shutdown: &Shutdown) -> Result<Self, StartError> {
        let settings = config.settings;
        if config.worker_secret.len() < 32 {
            return Err(StartError::SecretTooShort);
        }
        let cursors = CursorKey::derive(&config.worker_secret).ok_or(StartError::SecretTooShort)?;
        let head_key = HeadKey::derive(&config.worker_secret).ok_or(StartError::SecretTooShort)?;
        let tokens = Tokens::new(config.repository.clone(), &config.worker_secret, settings.download_redirects)
            .ok_or(StartError::SecretTooShort)?;
        let mut readiness = Readiness::default();
        let workers = match config.workers {
            Workers::Local(plane) => plane,
            Workers::Remote(urls) => {
                let pool = WorkerPool::watch(&urls, shutdown.clone()).await?;
                readiness = readiness.with("workers", pool.clone(), |pool| async move {
                    if pool.any() { Ok(()) } else { Err("no worker is alive") }
                });
                Arc::new(RemoteWorkers { pool, secret: config.worker_secret })
            }
        };
        let directories = Arc::new(Directories::new(config.log.clone(), settings.directory_limits()));
        let mut tasks = JoinSet::new();
        let (refusals, keeping) = Keeper::new(config.refusals.clone(), shutdown.clone());
        tasks.spawn(keeping);
        let policies = config.policies;
        let access = policies.access.clone();
        let addr = settings.http_addr;
        let gateway = Gateway {
            workers,
            reserver: Reserver::new(config.repository.clone(), policies.clone(), settings.default_quota_bytes),
            registration: Registration::new(directories.clone(), config.database.clone(), settings.auto_register),
            directories,
            access,
            idempotency: Idempotency::new(
                Bucket::open(&config.nats, names::IDEMPOTENCY_BUCKET).await?,
                settings.idempotency_keys_per_company,
            ),
            positions: Positions::new(config.log.clone(), config.database.clone(), config.replica),
            started: StartedCache::default(),
            turns: Turns::default(),
            creations: Turns::default(),
            small_bodies: SmallBodies::default(),
            tokens: Arc::new(tokens),
            rates: Limiter::new(Rates { per_user: settings.rate_per_user, per_address: settings.rate_per_address }),
            refusals,
            kept_refusals: config.refusals,
            proxies: config.proxies.clone(),
            log: config.log,
            repository: config.repository,
            nats: config.nats,
            raw_events: config.raw_events,
            store: config.store,
            presigner: config.presigner,
            database: config.database,
            cursors,
            head_key,
            policies,
            settings,
        };
        let gateway = Arc::new(gateway);
        tasks.spawn({
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.rates.tidy(shutdown).await }
        });
        let readiness = readiness.and(own_readiness(&gateway)).and(config.more_readiness);
        let gateway = web::Data::from(gateway);
        let authenticator = web::Data::new(config.authenticator);
        let (more_routes, more_operations): (Vec<_>, Vec<_>) =
            config.more_routes.into_iter().map(|routes| (routes.configure, routes.api)).unzip();
        let described = web::Data::new(routes::api(more_operations));
        let origins = Origins::new(config.allowed_origins, config.proxies);
        let over_tls = config.tls.is_some();
        let application = move || {
            let mut app = App::new()
                .app_data(gateway.clone())
                .app_data(authenticator.clone())
                .app_data(web::Data::new(readiness.clone()))
                .configure(health::routes)
                .app_data(described.clone())
                .configure(routes::configure)
                .default_service(web::to(openapi::unmatched));
            for more in &more_routes {
                app = app.configure(|config| more(config));
            }
            app.wrap(from_fn(admission::admit))
                .wrap(request::safe_headers(over_tls))
                .wrap(origins.cors())
                .wrap(from_fn(request::trace))
        };
        let of_listener = listener::Settings {
            keep_alive: config.keep_alive,
            head_timeout: HEAD_TIMEOUT,
            tls: config.tls,
            ..listener::Settings::default()
        };
        let addr = listener::listen(addr, of_listener, application, shutdown, &mut tasks)?;
        tracing::info!(%addr, "gateway started");
        Ok(Self { addr, tasks })
    }

    /// Returns the address on which the gateway listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until all tasks have stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Returns the readiness checks of the servers that the gateway itself needs.
fn own_readiness(gateway: &Arc<Gateway>) -> Readiness {
    Readiness::default()
        .with("nats", gateway.log.clone(), |log| async move { log.head(0).await.map(drop) })
        .with("store", gateway.store.clone(), |store| async move { store.check().await })
        .with("postgres", gateway.database.clone(), |database| async move { database.connection().await.map(drop) })
}
