//! `waybill serve`: connects the roles with each other and with the backing servers, and shuts them down in order.

mod running;

pub use running::Running;

use crate::audit_store::schedule::Schedule;
use crate::backing::Stores;
use crate::{CommandError, backing, cleartext, listeners};
use actix_web::App;
use actix_web::middleware::from_fn;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use waybill_access::{Access, Policies};
use waybill_content::PurgeHook;
use waybill_domain::limits::Limits;
use waybill_event_log::Bucket;
use waybill_event_log::jetstream::JetStreamLog;
use waybill_gateway::Workers;
use waybill_http_kit::health::{HealthRoutes, Readiness};
use waybill_http_kit::settings::AdmissionSettings;
use waybill_http_kit::{Origins, listener, request};
use waybill_read_cache::ReadCache;
use waybill_read_model::Database;
use waybill_repository::Repository;
use waybill_schema::names::{self, RecordKind};
use waybill_service_kit::settings::{
    AuthSettings, BrowserSettings, ConnectionSettings, DatabaseSettings, NatsSettings, NetworkSettings, OpsSettings,
    RedisSettings, S3Settings, ScanSettings, TlsSettings, TypeSettings, WorkerSecrets,
};
use waybill_service_kit::{Shutdown, Tls, descriptors};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    All,
    Gateway,
    Worker,
    Projector,
    Fanout,
    Content,
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
    redis: RedisSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    gateway: waybill_gateway::GatewaySettings,
    #[command(flatten)]
    admission: AdmissionSettings,
    #[command(flatten)]
    types: TypeSettings,
    #[command(flatten)]
    worker_secrets: WorkerSecrets,
    #[command(flatten)]
    gateway_secrets: waybill_gateway::GatewaySecrets,
    #[command(flatten)]
    worker: waybill_worker::WorkerSettings,
    #[command(flatten)]
    projector: waybill_projector::ProjectorSettings,
    #[command(flatten)]
    fanout: waybill_fanout::FanoutSettings,
    #[command(flatten)]
    content: waybill_content::ContentSettings,
    #[command(flatten)]
    scans: ScanSettings,
    #[command(flatten)]
    browsers: BrowserSettings,
    #[command(flatten)]
    tls: TlsSettings,
    #[command(flatten)]
    connections: ConnectionSettings,
    #[command(flatten)]
    network: NetworkSettings,
    #[command(flatten)]
    ops: OpsSettings,
}

/// Settings and clients that all roles of one process share.
struct Shared {
    args: ServeArgs,
    nats: async_nats::Client,
    log: Arc<JetStreamLog>,
    repository: Arc<Repository>,
    stores: Stores,
    database: Database,
    access: Arc<Access>,
    cache: Option<Arc<ReadCache>>,
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

/// Starts one role or all roles. They stop when `shutdown` is triggered.
///
/// # Errors
/// A text for users if a role cannot start.
pub async fn start(args: ServeArgs, shutdown: &Shutdown) -> Result<Running, CommandError> {
    refuse_cleartext(&args)?;
    let nats = backing::nats(&args.nats).await?;
    let mut log = backing::log(&args.nats, &nats).await?;
    // The projector and the fan-out load nothing that has snapshots, and their users of NATS cannot reach the bucket.
    if !matches!(args.role, Role::Projector | Role::Fanout) {
        let snapshots = Bucket::open(&nats, names::SNAPSHOTS_BUCKET).await;
        let snapshots = snapshots.map_err(|error| format!("{error}; run `waybill provision`"))?;
        log = Arc::new(JetStreamLog::clone(&log).keeping_snapshots_in(snapshots));
    }
    let repository = Arc::new(Repository::new(log.clone()));
    let database = backing::database(&args.database)?;
    let (back, end) = (Shutdown::new(), Shutdown::new());
    let mut followers = JoinSet::new();
    let is_gateway = matches!(args.role, Role::All | Role::Gateway);
    let mut cache = None;
    if is_gateway {
        let redis = backing::redis(&args.redis)?;
        if let Some(redis) = &redis {
            followers.spawn(redis.clone().watch(end.clone()));
        }
        cache = backing::read_cache(args.gateway.row_cache_mib, redis, &args.gateway_secrets)?;
    }
    let scans = backing::scan_rules(&args.scans);
    let access = Access::keeping(log.clone(), database.clone(), scans, cache.clone());
    if args.role != Role::Projector {
        for partition in backing::partitions(&args.nats)?.all() {
            followers.spawn(access.clone().follow(partition, end.clone()));
        }
    }
    let stores = backing::stores(&args.s3)?;
    let shared = Shared { log, repository, stores, database, access, cache, front: shutdown.clone(), back, nats, args };
    let mut running = start_role(&shared).await?;
    if let Some(addr) = shared.args.ops.ops_addr {
        let health = HealthRoutes::new(running.readiness());
        let addr = health_only(&shared, addr, health, &mut running.tasks)?;
        tracing::info!(%addr, "readiness and metrics are served");
        running.ops_addr = Some(addr);
    }
    Ok(Running { back: shared.back, followers, end, ..running })
}

fn refuse_cleartext(args: &ServeArgs) -> Result<(), CommandError> {
    let replica = args.database.database_replica_url.as_deref();
    let workers = if args.role == Role::Gateway { args.gateway.worker_urls.as_slice() } else { &[] };
    let purges =
        args.content.purges.cdn_purge_url.as_deref().filter(|_| matches!(args.role, Role::All | Role::Content));
    let judged = [
        ("WAYBILL_NATS_URL", cleartext::nats(&args.nats.nats_url)),
        ("WAYBILL_DATABASE_URL", cleartext::postgres(&args.database.database_url)),
        ("WAYBILL_DATABASE_REPLICA_URL", replica.is_some_and(cleartext::postgres)),
        ("WAYBILL_REDIS_URL", args.redis.redis_url.as_deref().is_some_and(cleartext::redis)),
        ("WAYBILL_S3_ENDPOINT", args.s3.s3_endpoint.as_deref().is_some_and(cleartext::http)),
        ("WAYBILL_CDN_PURGE_URL", purges.is_some_and(cleartext::http)),
        ("WAYBILL_WORKER_URLS", workers.iter().any(|url| cleartext::http(url))),
    ];
    Ok(cleartext::refuse(&judged, args.network.allow_cleartext)?)
}

async fn start_role(shared: &Shared) -> Result<Running, CommandError> {
    match shared.args.role {
        Role::All => all(shared).await,
        Role::Gateway => {
            let workers = Workers::Remote {
                urls: shared.args.gateway.worker_urls.clone(),
                secrets: shared.args.worker_secrets.read()?,
            };
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
            let health = HealthRoutes::beside_operations(projector.readiness(), has_operations(shared));
            let addr = health_only(shared, addr, health, &mut tasks)?;
            Ok(Running { addr: Some(addr), projector: Some(projector), tasks, ..Running::default() })
        }
        Role::Content => {
            let content = content(shared)?;
            let mut tasks = JoinSet::new();
            schedule_comparison(shared, &mut tasks);
            let addr = shared.args.content.content_addr;
            let health = HealthRoutes::beside_operations(content.readiness(), has_operations(shared));
            let addr = health_only(shared, addr, health, &mut tasks)?;
            Ok(Running { addr: Some(addr), content: Some(content), tasks, ..Running::default() })
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
    let mut tasks = JoinSet::new();
    schedule_comparison(shared, &mut tasks);
    Ok(Running {
        tasks,
        addr: Some(gateway.addr()),
        gateway: Some(gateway),
        fanout: Some(fanout),
        worker: Some(worker),
        projector: Some(projector),
        content: Some(content(shared)?),
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
        host: listeners::of_host(&shared.args.gateway, tls(shared)?)?,
        workers,
        audit_secrets: shared.args.gateway_secrets.audit()?,
        cursor_secrets: shared.args.gateway_secrets.cursors()?,
        token_secrets: shared.args.gateway_secrets.tokens()?,
        authenticator: backing::authenticator(&shared.args.auth)?,
        auto_register: shared.args.auth.registers_automatically(),
        policies: policies(shared),
        proxies: shared.args.admission.proxies(),
        rates: shared.args.admission.rates(),
        keep_alive: keep_alive(shared),
        allowed_origins: shared.args.browsers.allowed_origins.clone(),
        nats: shared.nats.clone(),
        raw_events: shared.log.raw_events(),
        refusals: shared.log.records(RecordKind::Refusal),
        reads: shared.log.records(RecordKind::Read),
        repository: shared.repository.clone(),
        log: shared.log.clone(),
        store: shared.stores.all(),
        presigner: backing::presigner(&shared.args.s3)?,
        database: shared.database.clone(),
        cache: shared.cache.clone(),
        replica: backing::replica(&shared.args.database)?,
        more_routes,
        more_readiness,
        has_operations: has_operations(shared),
    };
    Ok(waybill_gateway::Server::from_config(config, &shared.front).await?)
}

/// Returns the certificate and the key of this process's listener.
fn tls(shared: &Shared) -> Result<Option<Tls>, CommandError> {
    let TlsSettings { tls_cert_file, tls_key_file } = &shared.args.tls;
    Ok(Tls::of_files(tls_cert_file.as_deref(), tls_key_file.as_deref())?)
}

/// Returns `true` if readiness and metrics have a listener of their own.
fn has_operations(shared: &Shared) -> bool {
    shared.args.ops.ops_addr.is_some()
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
    Policies {
        access: access.clone(),
        limits,
        types: backing::types(&args.types),
        scans: backing::scan_rules(&args.scans),
    }
}

/// Compares the store with the log on a schedule if the settings say so.
fn schedule_comparison(shared: &Shared, tasks: &mut JoinSet<()>) {
    let settings = &shared.args.content;
    if settings.reconcile_every_s == 0 {
        return;
    }
    let schedule = Schedule {
        stores: shared.stores.clone(),
        database: shared.database.clone(),
        repository: shared.repository.clone(),
        every: Duration::from_secs(settings.reconcile_every_s),
        older_than_s: settings.reconcile_older_than_s,
        deletes: settings.reconcile_delete,
    };
    tasks.spawn(schedule.run(shared.back.clone()));
}

fn content(shared: &Shared) -> Result<waybill_content::Server, CommandError> {
    let config = waybill_content::Config {
        settings: shared.args.content.clone(),
        nats: shared.nats.clone(),
        repository: shared.repository.clone(),
        access: shared.access.clone(),
        store: shared.stores.all(),
        cold: shared.stores.cold(),
        purge_hook: PurgeHook::new(&shared.args.content.purges).map_err(|error| error.to_string())?,
        database: shared.database.clone(),
    };
    Ok(waybill_content::Server::from_config(config, &shared.back))
}

async fn worker(shared: &Shared, addr: Option<SocketAddr>) -> Result<waybill_worker::Server, CommandError> {
    let config = waybill_worker::Config {
        addr,
        tls: tls(shared)?,
        secrets: addr.map(|_| shared.args.worker_secrets.read()).transpose()?,
        settings: shared.args.worker.clone(),
        policies: policies(shared),
        nats: shared.nats.clone(),
        log: shared.log.clone(),
        repository: shared.repository.clone(),
        store: shared.stores.all(),
        database: shared.database.clone(),
        has_operations: has_operations(shared),
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
        auto_register: shared.args.auth.registers_automatically(),
        origins: Origins::new(shared.args.browsers.allowed_origins.clone(), shared.args.admission.proxies()),
        proxies: shared.args.admission.proxies(),
        rates: shared.args.admission.rates(),
        settings: shared.args.fanout.clone(),
        keep_alive: keep_alive(shared),
        nats: shared.nats.clone(),
        log: shared.log.clone(),
        database: shared.database.clone(),
        access: shared.access.clone(),
        has_operations: has_operations(shared),
    };
    Ok(waybill_fanout::Server::from_config(config, &shared.front).await?)
}

/// Starts a listener for health and metrics.
fn health_only(
    shared: &Shared,
    addr: SocketAddr,
    health: HealthRoutes,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr, CommandError> {
    let application = move || App::new().wrap(from_fn(request::trace)).configure(|config| health.configure(config));
    let settings = listener::Settings { threads: Some(1), ..listener::Settings::default() };
    Ok(listener::listen(addr, settings, application, &shared.back, tasks)?)
}
