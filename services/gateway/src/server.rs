//! Starting and stopping a gateway.

use crate::api::Api;
use crate::audit_export::HeadKey;
use crate::cursor::CursorKey;
use crate::gateway::{Gateway, StartedCache};
use crate::idempotency::Idempotency;
use crate::position::Positions;
use crate::rates::{Limiter, Rates};
use crate::registration::Registration;
use crate::reserve::Reserver;
use crate::resumable::SmallBodies;
use crate::tokens::Tokens;
use crate::turns::Turns;
use crate::workers::{RemoteWorkers, WorkerPool, WorkerUrlError};
use crate::{admission, api};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::num::NonZeroU32;
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
use waybill_repository::{Directories, DirectoryLimits, Quotas};
use waybill_schema::names;
use waybill_service_kit::health::{self, Readiness};
use waybill_service_kit::{Authenticator, Origins, Proxies, Shutdown, Tls, listener, request};

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Routes of another service that are served on the gateway's address.
pub struct Routes {
    /// Adds them to an application.
    pub configure: Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>,
    /// Their part of the OpenAPI document.
    pub api: utoipa::openapi::OpenApi,
}

/// What a gateway is made of.
pub struct Config {
    /// Where clients are listened to; port 0 for any.
    pub addr: SocketAddr,
    /// What is spoken over TLS with.
    pub tls: Option<Tls>,
    /// Who takes the bytes.
    pub workers: Workers,
    /// What workers of other processes know gateways by; and what cursors are signed with.
    pub worker_secret: String,
    /// Who may ask.
    pub authenticator: Authenticator,
    /// What companies may upload, and who may do what.
    pub policies: Policies,
    /// Bytes that a company may store until an admin says otherwise.
    pub default_quota_bytes: u64,
    /// Whether a valid token of an unknown company or user registers it.
    pub auto_register: bool,
    /// How large directories may be.
    pub directory_limits: DirectoryLimits,
    /// How long an upload may take.
    pub upload_lifetime: Duration,
    /// How long a URL is good by which a client writes to the store.
    pub upload_url_lifetime: Duration,
    /// How often clients may ask.
    pub rates: Rates,
    /// How many `Idempotency-Key`s a company may bring in 24 hours.
    pub idempotency_keys_per_company: NonZeroU32,
    /// Whether downloads by token are sent on to the store, where their number does not matter.
    pub download_redirects: bool,
    /// The proxies in front.
    pub proxies: Proxies,
    /// How long a connection of a client is kept without a request.
    pub keep_alive: Duration,
    /// Origins of pages that may ask.
    pub allowed_origins: Vec<String>,
    /// The connection behind `log`.
    pub nats: async_nats::Client,
    /// The space of companies.
    pub quotas: Arc<Quotas>,
    /// The events as they are stored, for auditors.
    pub raw_events: RawEvents,
    /// What was refused to whom, for auditors.
    pub refusals: Refusals,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// Signs requests to the object store for clients.
    pub presigner: Presigner,
    /// The read models.
    pub database: Database,
    /// A copy of them for queries.
    pub replica: Option<Database>,
    /// Routes of other services on the same address.
    pub more_routes: Vec<Routes>,
    /// What must answer for those.
    pub more_readiness: Readiness,
}

/// Who takes the bytes.
pub enum Workers {
    /// Workers of other processes; a name in a URL stands for all addresses that it resolves to.
    Remote(Vec<String>),
    /// The worker of this process.
    Local(Arc<dyn DataPlane>),
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret is too short to be one.
    #[error("WAYBILL_WORKER_SECRET must have at least 32 bytes")]
    SecretTooShort,
    /// A worker's URL cannot be read.
    #[error(transparent)]
    WorkerUrl(#[from] WorkerUrlError),
    /// A bucket is missing.
    #[error("{0}; run `waybill provision`")]
    Bucket(#[from] BucketError),
    /// The address cannot be listened at.
    #[error("listening: {0}")]
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
        if config.worker_secret.len() < 32 {
            return Err(StartError::SecretTooShort);
        }
        let cursors = CursorKey::derive(&config.worker_secret).ok_or(StartError::SecretTooShort)?;
        let head_key = HeadKey::derive(&config.worker_secret).ok_or(StartError::SecretTooShort)?;
        let tokens = Tokens::new(&config.worker_secret, config.download_redirects).ok_or(StartError::SecretTooShort)?;
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
        let directories = Arc::new(Directories::new(config.log.clone(), config.directory_limits));
        let mut tasks = JoinSet::new();
        let (refusals, keeping) = Keeper::new(config.refusals.clone(), shutdown.clone());
        tasks.spawn(keeping);
        let policies = config.policies;
        let access = policies.access.clone();
        let gateway = Gateway {
            workers,
            reserver: Reserver::new(config.log.clone(), config.quotas, policies.clone(), config.default_quota_bytes),
            registration: Registration::new(directories.clone(), config.database.clone(), config.auto_register),
            directories,
            access,
            idempotency: Idempotency::new(
                Bucket::open(&config.nats, names::IDEMPOTENCY_BUCKET).await?,
                config.idempotency_keys_per_company,
            ),
            positions: Positions::new(config.log.clone(), config.database.clone(), config.replica),
            started: StartedCache::default(),
            turns: Turns::default(),
            small_bodies: SmallBodies::default(),
            tokens,
            rates: Limiter::new(config.rates),
            refusals,
            kept_refusals: config.refusals,
            proxies: config.proxies.clone(),
            log: config.log,
            nats: config.nats,
            raw_events: config.raw_events,
            store: config.store,
            presigner: config.presigner,
            database: config.database,
            cursors,
            head_key,
            policies,
            default_quota_bytes: config.default_quota_bytes,
            upload_url_lifetime: config.upload_url_lifetime,
            upload_lifetime_ms: i64::try_from(config.upload_lifetime.as_millis()).unwrap_or(i64::MAX),
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
        let described = web::Data::new(Api::new(more_operations.into_iter().chain([health::api()])));
        let origins = Origins::new(config.allowed_origins, config.proxies);
        let over_tls = config.tls.is_some();
        let application = move || {
            let mut app = App::new()
                .app_data(gateway.clone())
                .app_data(authenticator.clone())
                .app_data(web::Data::new(readiness.clone()))
                .configure(health::routes)
                .app_data(described.clone())
                .configure(api::configure)
                .default_service(web::to(api::unmatched));
            for more in &more_routes {
                app = app.configure(|config| more(config));
            }
            app.wrap(from_fn(admission::admit))
                .wrap(request::safe_headers(over_tls))
                .wrap(origins.cors())
                .wrap(from_fn(request::trace))
        };
        let settings = listener::Settings {
            keep_alive: config.keep_alive,
            head_timeout: HEAD_TIMEOUT,
            tls: config.tls,
            ..listener::Settings::default()
        };
        let addr = listener::listen(config.addr, settings, application, shutdown, &mut tasks)?;
        tracing::info!(%addr, "gateway started");
        Ok(Self { addr, tasks })
    }

    /// Where clients are listened to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Until everything has stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn own_readiness(gateway: &Arc<Gateway>) -> Readiness {
    Readiness::default()
        .with("nats", gateway.log.clone(), |log| async move { log.head(0).await.map(drop) })
        .with("store", gateway.store.clone(), |store| async move { store.check().await })
        .with("postgres", gateway.database.clone(), |database| async move { database.connection().await.map(drop) })
}
