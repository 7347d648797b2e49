//! Start and stop of a gateway.

use crate::admission;
use crate::application::append_order::Turns;
use crate::application::archives::Archives;
use crate::application::at_once::AtOnce;
use crate::application::gateway::{Gateway, StartedCache};
use crate::application::head_key::HeadKey;
use crate::application::idempotency::Idempotency;
use crate::application::last_reads::LastReads;
use crate::application::media::Media;
use crate::application::quota_reservation::Reserver;
use crate::application::read_your_writes::Positions;
use crate::application::registration::Registration;
use crate::application::replica::Replica;
use crate::application::rows::kept::Rows;
use crate::application::sealing;
use crate::application::searches::Searches;
use crate::application::small_bodies::SmallBodies;
use crate::application::tokens::Tokens;
use crate::http::cursor::CursorKey;
use crate::http::event_budget::EventBudget;
use crate::http::openapi;
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
use waybill_audit::denials::Recorder;
use waybill_audit::reads::ReadRecorder;
use waybill_compression::FileBytes;
use waybill_data_plane::DataPlane;
use waybill_data_plane::signature::RequestKeys;
use waybill_event_log::jetstream::{RawEvents, Records};
use waybill_event_log::{Bucket, BucketError, EventLog};
use waybill_http_kit::admission::{Admission, Rates};
use waybill_http_kit::health::{HealthRoutes, Readiness};
use waybill_http_kit::{Authenticator, ListenerKind, Origins, Proxies, listener, request};
use waybill_object_store::ObjectStore;
use waybill_object_store::presign::Presigner;
use waybill_read_cache::ReadCache;
use waybill_read_model::Database;
use waybill_repository::{Directories, Repository};
use waybill_schema::names;
use waybill_service_kit::Secrets;
use waybill_service_kit::{Shutdown, Tls};

/// Time within which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Routes of another service that the gateway serves on its address.
pub struct Routes {
    /// Adds the routes to an application.
    pub configure: Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>,
    /// Description of the routes for the OpenAPI document.
    pub api: utoipa::openapi::OpenApi,
}

/// Listener for the host product.
pub struct HostListener {
    /// Address. Port 0 selects any free port.
    pub addr: SocketAddr,
    /// TLS configuration. Without it, the listener serves plain HTTP.
    pub tls: Option<Tls>,
}

/// Configuration and dependencies of a gateway.
pub struct Config {
    /// Settings of this role. Port 0 of the address selects any free port.
    pub settings: GatewaySettings,
    /// TLS configuration. Without it, the gateway serves plain HTTP.
    pub tls: Option<Tls>,
    /// Separate listener for the host product. Without it, the host product and users have the same one.
    pub host: Option<HostListener>,
    /// Workers that receive the bytes of uploads.
    pub workers: Workers,
    /// Secrets from which the keys of audit heads are derived.
    pub audit_secrets: Secrets,
    /// Secrets from which the keys of cursors are derived.
    pub cursor_secrets: Secrets,
    /// Secrets from which download tokens are derived.
    pub token_secrets: Secrets,
    /// Verifies access tokens.
    pub authenticator: Authenticator,
    /// `true` if a valid token registers its company and user.
    pub auto_register: bool,
    /// Limits of uploads per company, and the access rules.
    pub policies: Policies,
    /// Trusted reverse proxies in front of the gateway.
    pub proxies: Proxies,
    /// Rate limits of clients.
    pub rates: Rates,
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
    pub refusals: Records,
    /// The downloads and lists, for the audit.
    pub reads: Records,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// Signs requests to the object store for clients.
    pub presigner: Presigner,
    /// The read model.
    pub database: Database,
    /// Cache of rows that were read earlier, which `policies.access` uses too.
    pub cache: Option<Arc<ReadCache>>,
    /// A replica of the read model for queries.
    pub replica: Option<Database>,
    /// Routes of other services on the same address.
    pub more_routes: Vec<Routes>,
    /// Readiness checks of those services.
    pub more_readiness: Readiness,
    /// `true` if another listener serves readiness and metrics.
    pub has_operations: bool,
}

/// Workers that receive the bytes of uploads.
pub enum Workers {
    /// Workers in other processes.
    Remote {
        /// Their URLs. A host name stands for all addresses that it resolves to.
        urls: Vec<String>,
        /// Secrets that sign the requests to them.
        secrets: Secrets,
    },
    /// The worker of this process.
    Local(Arc<dyn DataPlane>),
}

/// Error of the start of a gateway.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No key can be derived from a secret.
    #[error("no key can be derived from a secret of the gateway")]
    Key,
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
    readiness: Readiness,
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
        let cursors = CursorKey::derive(&config.cursor_secrets).ok_or(StartError::Key)?;
        let head_key = HeadKey::derive(&config.audit_secrets).ok_or(StartError::Key)?;
        let tokens = Tokens::new(config.repository.clone(), &config.token_secrets, settings.download_redirects);
        let mut readiness = Readiness::default();
        let workers = match config.workers {
            Workers::Local(plane) => plane,
            Workers::Remote { urls, secrets } => {
                let pool = WorkerPool::watch(&urls, shutdown.clone()).await?;
                readiness = readiness.with("workers", pool.clone(), |pool| async move {
                    if pool.any() { Ok(()) } else { Err("no worker is alive") }
                });
                Arc::new(RemoteWorkers { pool, keys: RequestKeys::new(&secrets) })
            }
        };
        let directories = Arc::new(Directories::new(config.log.clone(), settings.directory_limits()));
        let mut tasks = JoinSet::new();
        let (denials, recording) = Recorder::new(config.refusals.clone(), shutdown.clone());
        tasks.spawn(recording);
        let (reads, recording) = ReadRecorder::new(config.reads.clone(), settings.audit_reads.into());
        tasks.spawn(recording);
        let policies = config.policies;
        let access = policies.access.clone();
        let max_lag = Duration::from_secs(settings.replica_max_lag_s.into());
        let replica = config.replica.map(|replica| Arc::new(Replica::new(replica, max_lag)));
        if let Some(replica) = replica.clone() {
            let (primary, access, shutdown) = (config.database.clone(), access.clone(), shutdown.clone());
            tasks.spawn(async move { replica.watch(&primary, &access, shutdown).await });
        }
        let addr = settings.http_addr;
        let gateway = Gateway {
            workers,
            reserver: Reserver::new(config.repository.clone(), policies.clone(), &settings),
            registration: Registration::new(directories.clone(), config.database.clone(), config.auto_register),
            directories,
            access,
            idempotency: Idempotency::new(
                Bucket::open(&config.nats, names::IDEMPOTENCY_BUCKET).await?,
                settings.key_shares(),
            ),
            positions: Positions::new(config.log.clone(), config.database.clone(), replica),
            started: StartedCache::default(),
            turns: Turns::default(),
            creations: Turns::default(),
            small_bodies: SmallBodies::default(),
            tokens: Arc::new(tokens),
            media: Media::new(&config.token_secrets, settings.media_base.as_deref()),
            archives: Archives::default(),
            searches: Searches::default(),
            event_budget: EventBudget::new(settings.event_rates()),
            at_once: AtOnce::new(&settings.at_once),
            admission: Admission::new(config.rates, config.proxies.clone()),
            denials,
            kept_refusals: config.refusals,
            reads,
            kept_reads: config.reads,
            last_reads: LastReads::default(),
            rows: config.cache.as_ref().map(Rows::new),
            log: config.log,
            repository: config.repository,
            signals: Arc::new(config.nats),
            raw_events: config.raw_events,
            file_bytes: FileBytes::keeping(config.store.clone(), settings.small_object_cache_mib << 20),
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
            async move { gateway.admission.tidy(shutdown).await }
        });
        tasks.spawn({
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.event_budget.tidy(shutdown).await }
        });
        tasks.spawn({
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move { gateway.last_reads.write(&gateway.database, shutdown).await }
        });
        tasks.spawn(sealing::run(gateway.clone(), shutdown.clone()));
        let readiness = readiness.and(own_readiness(&gateway)).and(config.more_readiness);
        let health = HealthRoutes::beside_operations(readiness.clone(), config.has_operations);
        let gateway = web::Data::from(gateway);
        let authenticator = web::Data::new(config.authenticator);
        let (more_routes, more_operations): (Vec<_>, Vec<_>) =
            config.more_routes.into_iter().map(|routes| (routes.configure, routes.api)).unzip();
        let described = web::Data::new(routes::api(more_operations));
        let origins = Origins::new(config.allowed_origins, config.proxies);
        let over_tls = config.tls.is_some();
        let application = |kind: ListenerKind| {
            let (gateway, authenticator, health) = (gateway.clone(), authenticator.clone(), health.clone());
            let (described, origins, more_routes) = (described.clone(), origins.clone(), more_routes.clone());
            let kind = web::Data::new(kind);
            move || {
                let mut app = App::new()
                    .app_data(gateway.clone())
                    .app_data(authenticator.clone())
                    .app_data(kind.clone())
                    .configure(|config| health.configure(config))
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
            }
        };
        let of_listener = |tls| listener::Settings {
            keep_alive: config.keep_alive,
            head_timeout: HEAD_TIMEOUT,
            tls,
            ..listener::Settings::default()
        };
        let kind = if config.host.is_some() { ListenerKind::Users } else { ListenerKind::Shared };
        let addr = listener::listen(addr, of_listener(config.tls), application(kind), shutdown, &mut tasks)?;
        if let Some(HostListener { addr, tls }) = config.host {
            let application = application(ListenerKind::Host);
            let addr = listener::listen(addr, of_listener(tls), application, shutdown, &mut tasks)?;
            tracing::info!(%addr, "the gateway listens for the host product");
        }
        tracing::info!(%addr, "gateway started");
        Ok(Self { addr, readiness, tasks })
    }

    /// Returns the readiness checks: the servers and workers that the gateway needs must answer.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
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
