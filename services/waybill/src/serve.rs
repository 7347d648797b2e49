//! `waybill serve`: connects the roles with each other and with the backing servers, and shuts them down in order.

use crate::{CommandError, backing};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use waybill_access::{Access, Policies};
use waybill_domain::limits::Limits;
use waybill_event_log::jetstream::{Bucket, JetStreamLog};
use waybill_gateway::Workers;
use waybill_object_store::s3::S3Store;
use waybill_read_model::Database;
use waybill_repository::Repository;
use waybill_schema::names;
use waybill_service_kit::health::{self, Readiness};
use waybill_service_kit::settings::{
    AuthSettings, BrowserSettings, ConnectionSettings, DatabaseSettings, NatsSettings, S3Settings, TlsSettings,
    TypeSettings, WorkerSecret,
};
use waybill_service_kit::{Origins, Proxies, Shutdown, Tls, descriptors, listener, request};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    All,
    Gateway,
    Worker,
    Projector,
    Fanout,
}

/// Role and settings of `waybill serve`. An environment variable can set each of the settings.
#[derive(Args)]
pub struct ServeArgs {
    /// Role to run
    role: Role,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    gateway: waybill_gateway::GatewaySettings,
    #[command(flatten)]
    types: TypeSettings,
    #[command(flatten)]
    worker_secret: WorkerSecret,
    #[command(flatten)]
    worker: waybill_worker::WorkerSettings,
    #[command(flatten)]
    projector: waybill_projector::ProjectorSettings,
    #[command(flatten)]
    fanout: waybill_fanout::FanoutSettings,
    #[command(flatten)]
    browsers: BrowserSettings,
    #[command(flatten)]
    tls: TlsSettings,
    #[command(flatten)]
    connections: ConnectionSettings,
}

/// Settings and clients that all roles of one process share.
struct Shared {
    args: ServeArgs,
    nats: async_nats::Client,
    log: Arc<JetStreamLog>,
    repository: Arc<Repository>,
    store: Arc<S3Store>,
    database: Database,
    access: Arc<Access>,
    /// Stops the roles that accept requests. It is triggered first.
    front: Shutdown,
    /// Stops the roles and tasks that requests depend on. It is triggered after the front has stopped.
    back: Shutdown,
}

/// Runs a role until the process receives a signal to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CommandError> {
    descriptors::raise_limit();
    let shutdown = Shutdown::new();
    let running = start(args, &shutdown).await?;
    Shutdown::signal().await?;
    tracing::info!("stopping");
    shutdown.trigger();
    running.stopped().await;
    Ok(())
}

/// Running roles of this process.
#[derive(Default)]
pub struct Running {
    addr: Option<SocketAddr>,
    gateway: Option<waybill_gateway::Server>,
    fanout: Option<waybill_fanout::Server>,
    worker: Option<waybill_worker::Server>,
    projector: Option<waybill_projector::Server>,
    back: Shutdown,
    tasks: JoinSet<()>,
    /// Tasks that follow the events that affect authorization.
    followers: JoinSet<()>,
}

impl Running {
    /// Returns the address on which the process listens.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Waits until all roles have stopped after the shutdown was triggered. The roles that accept requests stop first,
    /// the roles that requests depend on stop last.
    pub async fn stopped(self) {
        if let Some(gateway) = self.gateway {
            gateway.stopped().await;
        }
        if let Some(fanout) = self.fanout {
            fanout.stopped().await;
        }
        self.back.trigger();
        if let Some(worker) = self.worker {
            worker.stopped().await;
        }
        if let Some(projector) = self.projector {
            projector.stopped().await;
        }
        self.tasks.join_all().await;
        self.followers.join_all().await;
    }
}

/// Starts one role or all roles. They stop when `shutdown` is triggered.
///
/// # Errors
/// A text for users if a role cannot start.
pub async fn start(args: ServeArgs, shutdown: &Shutdown) -> Result<Running, CommandError> {
    let nats = backing::nats(&args.nats).await?;
    let log = backing::log(&args.nats, &nats).await?;
    let snapshots = Bucket::open(&nats, names::SNAPSHOTS_BUCKET).await;
    let snapshots = snapshots.map_err(|error| format!("{error}; run `waybill provision`"))?;
    let log = Arc::new(JetStreamLog::clone(&log).keeping_snapshots_in(snapshots));
    let repository = Arc::new(Repository::new(log.clone()));
    let database = backing::database(&args.database)?;
    let back = Shutdown::new();
    let access = Access::new(log.clone(), database.clone());
    let mut followers = JoinSet::new();
    if args.role != Role::Projector {
        for partition in backing::partitions(&args.nats)?.all() {
            followers.spawn(access.clone().follow(partition, back.clone()));
        }
    }
    let store = backing::store(&args.s3);
    let shared = Shared { log, repository, store, database, access, front: shutdown.clone(), back, nats, args };
    let running = start_role(&shared).await?;
    Ok(Running { back: shared.back, followers, ..running })
}

async fn start_role(shared: &Shared) -> Result<Running, CommandError> {
    match shared.args.role {
        Role::All => all(shared).await,
        Role::Gateway => {
            let workers = Workers::Remote(shared.args.gateway.worker_urls.clone());
            let gateway = gateway(shared, workers, Vec::new(), Readiness::default()).await?;
            Ok(Running { addr: Some(gateway.addr()), gateway: Some(gateway), ..Running::default() })
        }
        Role::Worker => {
            let worker = worker(shared, Some(shared.args.worker.worker_addr)).await?;
            Ok(Running { addr: worker.addr(), worker: Some(worker), ..Running::default() })
        }
        Role::Projector => {
            let projector = projector(shared).await?;
            let mut tasks = JoinSet::new();
            let addr = shared.args.projector.projector_addr;
            let addr = health_only(shared, addr, projector.readiness(), &mut tasks)?;
            Ok(Running { addr: Some(addr), projector: Some(projector), tasks, ..Running::default() })
        }
        Role::Fanout => {
            let mut fanout = fanout(shared).await?;
            let addr = fanout.listen(shared.args.fanout.fanout_addr, tls(shared)?)?;
            tracing::info!(%addr, "fan-out listens");
            Ok(Running { addr: Some(addr), fanout: Some(fanout), ..Running::default() })
        }
    }
}

/// Starts all roles in one process, with one address for clients. The gateway passes bytes to the worker without a
/// connection.
async fn all(shared: &Shared) -> Result<Running, CommandError> {
    let projector = projector(shared).await?;
    let worker = worker(shared, None).await?;
    let fanout = fanout(shared).await?;
    let readiness = worker.readiness().and(projector.readiness()).and(fanout.readiness());
    let routes = waybill_gateway::Routes { configure: fanout.routes(), api: waybill_fanout::api() };
    let gateway = gateway(shared, Workers::Local(worker.data_plane()), vec![routes], readiness).await?;
    Ok(Running {
        addr: Some(gateway.addr()),
        gateway: Some(gateway),
        fanout: Some(fanout),
        worker: Some(worker),
        projector: Some(projector),
        ..Running::default()
    })
}

async fn gateway(
    shared: &Shared,
    workers: Workers,
    more_routes: Vec<waybill_gateway::Routes>,
    more_readiness: Readiness,
) -> Result<waybill_gateway::Server, CommandError> {
    let config = waybill_gateway::Config {
        settings: shared.args.gateway.clone(),
        tls: tls(shared)?,
        workers,
        worker_secret: shared.args.worker_secret.worker_secret.clone(),
        authenticator: backing::authenticator(&shared.args.auth)?,
        policies: policies(shared),
        proxies: proxies(shared),
        keep_alive: keep_alive(shared),
        allowed_origins: shared.args.browsers.allowed_origins.clone(),
        nats: shared.nats.clone(),
        raw_events: shared.log.raw_events(),
        refusals: shared.log.refusals(),
        repository: shared.repository.clone(),
        log: shared.log.clone(),
        store: shared.store.clone(),
        presigner: backing::presigner(&shared.args.s3),
        database: shared.database.clone(),
        replica: backing::replica(&shared.args.database)?,
        more_routes,
        more_readiness,
    };
    Ok(waybill_gateway::Server::from_config(config, &shared.front).await?)
}

/// Returns the certificate and the key of this process's listener.
fn tls(shared: &Shared) -> Result<Option<Tls>, CommandError> {
    let TlsSettings { tls_cert_file, tls_key_file } = &shared.args.tls;
    Ok(Tls::of_files(tls_cert_file.as_deref(), tls_key_file.as_deref())?)
}

/// Returns the trusted proxies in front of this process.
fn proxies(shared: &Shared) -> Proxies {
    Proxies::new(shared.args.gateway.trusted_proxies.clone(), shared.args.gateway.proxy_header)
}

/// Returns the time for which idle connections of clients stay open.
fn keep_alive(shared: &Shared) -> Duration {
    Duration::from_secs(shared.args.connections.keep_alive_s)
}

/// Returns the limits and the media types for uploads of companies.
fn policies(shared: &Shared) -> Policies {
    let Shared { args, access, .. } = shared;
    let limits =
        Limits { max_file_bytes: args.gateway.max_file_bytes, max_session_bytes: args.gateway.max_session_bytes };
    Policies { access: access.clone(), limits, types: backing::types(&args.types) }
}

async fn worker(shared: &Shared, addr: Option<SocketAddr>) -> Result<waybill_worker::Server, CommandError> {
    let config = waybill_worker::Config {
        addr,
        tls: tls(shared)?,
        secret: shared.args.worker_secret.worker_secret.clone(),
        settings: shared.args.worker.clone(),
        policies: policies(shared),
        nats: shared.nats.clone(),
        log: shared.log.clone(),
        repository: shared.repository.clone(),
        store: shared.store.clone(),
        database: shared.database.clone(),
    };
    Ok(waybill_worker::Server::from_config(config, &shared.back).await?)
}

async fn projector(shared: &Shared) -> Result<waybill_projector::Server, CommandError> {
    let settings = shared.args.projector.clone();
    let database = shared.database.leased(settings.lease() / 2)?;
    let config = waybill_projector::Config { log: shared.log.clone(), database, settings };
    Ok(waybill_projector::Server::from_config(config, &shared.back).await?)
}

async fn fanout(shared: &Shared) -> Result<waybill_fanout::Server, CommandError> {
    let config = waybill_fanout::Config {
        authenticator: backing::authenticator(&shared.args.auth)?,
        origins: Origins::new(shared.args.browsers.allowed_origins.clone(), proxies(shared)),
        keep_alive: keep_alive(shared),
        nats: shared.nats.clone(),
        log: shared.log.clone(),
        database: shared.database.clone(),
        access: shared.access.clone(),
    };
    Ok(waybill_fanout::Server::from_config(config, &shared.front).await?)
}

/// Starts a listener for health and metrics, for a role without a listener of its own.
fn health_only(
    shared: &Shared,
    addr: SocketAddr,
    readiness: Readiness,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, CommandError> {
    let application = move || {
        App::new().wrap(from_fn(request::trace)).app_data(web::Data::new(readiness.clone())).configure(health::routes)
    };
    let settings = listener::Settings { threads: Some(1), ..listener::Settings::default() };
    Ok(listener::listen(addr, settings, application, &shared.back, tasks)?)
}
