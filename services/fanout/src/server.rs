//! Starting and stopping a fan-out.

use crate::connection::{Client, Connection, greet};
use crate::guard::{TooBig, guarded};
use crate::hub::Hub;
use crate::protocol::SUBPROTOCOL;
use crate::ticket::{self, Tickets};
use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use actix_web::middleware::from_fn;
use actix_web::{App, FromRequest, HttpRequest, HttpResponse, dev, get, web};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::Instant;
use utoipa::OpenApi;
use waybill_access::Access;
use waybill_access::refusals::Keeper;
use waybill_event_log::EventLog;
use waybill_event_log::jetstream::{Bucket, BucketError, Refusals};
use waybill_read_model::Database;
use waybill_schema::names;
use waybill_service_kit::health::{self, Readiness};
use waybill_service_kit::{
    Authenticator, Origins, Principal, Problem, RequestId, Shutdown, Tls, body, listener, request,
};

/// The largest frame of a client.
pub(crate) const FRAME_MAX_BYTES: usize = 4 * 1_024;
const GRACE_S: u64 = 20;
/// Snapshots that are made at once: a burst of subscriptions then takes time, not memory.
const SNAPSHOTS_AT_ONCE: usize = 32;
/// How long a client may not read before its connection is closed.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// What a fan-out is made of.
pub struct Config {
    /// Who may ask.
    pub authenticator: Authenticator,
    /// Origins that browsers may connect from, besides the fan-out's own.
    pub origins: Origins,
    /// How long a connection of a client is kept without a request.
    pub keep_alive: Duration,
    /// The connection behind `log`.
    pub nats: async_nats::Client,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The read models.
    pub database: Database,
    /// Who may do what.
    pub access: Arc<Access>,
}

/// Why a fan-out did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bucket is missing.
    #[error("{0}; run `waybill provision`")]
    Bucket(#[from] BucketError),
    /// The address cannot be listened at.
    #[error("listening: {0}")]
    Listen(#[from] std::io::Error),
}

/// The right to make a snapshot.
pub(crate) type Turn<'a> = Option<SemaphorePermit<'a>>;

/// What every connection works with.
pub(crate) struct Fanout {
    pub(crate) hub: Arc<Hub>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) database: Database,
    pub(crate) access: Arc<Access>,
    pub(crate) shutdown: Shutdown,
    pub(crate) refusals: Keeper,
    snapshots: Semaphore,
    /// The instant from which the pings of all connections are counted.
    pub(crate) began: Instant,
    origins: Origins,
    keep_alive: Duration,
    connections: AtomicU64,
}

#[cfg(test)]
impl Fanout {
    /// Makes a fan-out with an empty log in memory, without NATS and Postgres.
    pub(crate) async fn alone() -> Arc<Self> {
        let partitions = waybill_schema::Partitions::new(1).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(waybill_event_log::memory::MemoryLog::new(partitions));
        let nats = async_nats::ConnectOptions::new().retry_on_initial_connect().connect("127.0.0.1:1").await.unwrap();
        let config = waybill_read_model::DatabaseConfig {
            url: "postgres://nobody@127.0.0.1:1/nothing".to_owned(),
            schema: "nothing".parse().unwrap(),
            pool_size: 1,
        };
        let database = Database::new(config).unwrap();
        let shutdown = Shutdown::new();
        let (refusals, _) = Keeper::new(Refusals::new(nats, partitions), shutdown.clone());
        Arc::new(Self {
            hub: Arc::new(Hub::new(log.clone())),
            access: Access::new(log.clone(), database.clone()),
            log,
            database,
            shutdown,
            refusals,
            snapshots: Semaphore::new(SNAPSHOTS_AT_ONCE),
            began: Instant::now(),
            origins: Origins::default(),
            keep_alive: Duration::ZERO,
            connections: AtomicU64::new(1),
        })
    }
}

impl Fanout {
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for the right to make a snapshot, which ends with the value.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.snapshots.acquire().await.ok()
    }
}

/// A running fan-out.
pub struct Server {
    fanout: web::Data<Fanout>,
    tickets: web::Data<Tickets>,
    authenticator: web::Data<Authenticator>,
    readiness: Readiness,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts following the log; it stops when `shutdown` is triggered. Clients are served by [`Server::routes`] on
    /// somebody's listener, or by [`Server::listen`] on one of its own.
    ///
    /// # Errors
    /// [`StartError::Bucket`].
    pub fn from_config(config: Config, shutdown: &Shutdown) -> BoxFuture<'_, Result<Self, StartError>> {
        Box::pin(Self::start(config, shutdown))
    }

    async fn start(config: Config, shutdown: &Shutdown) -> Result<Self, StartError> {
        let tickets = Tickets::new(Bucket::open(&config.nats, names::TICKETS_BUCKET).await?);
        let hub = Arc::new(Hub::new(config.log.clone()));
        let mut tasks = JoinSet::new();
        let kept = Refusals::new(config.nats.clone(), config.log.partitions());
        let (refusals, keeping) = Keeper::new(kept, shutdown.clone());
        tasks.spawn(keeping);
        tasks.spawn(hub.clone().drain(shutdown.clone()));
        for partition in config.log.partitions().all() {
            tasks.spawn(hub.clone().follow(partition, shutdown.clone()));
        }
        let readiness = Readiness::default()
            .with("nats", config.log.clone(), |log| async move { log.head(0).await.map(drop) })
            .with("postgres", config.database.clone(), |database| async move { database.connection().await.map(drop) });
        let fanout = Fanout {
            hub,
            log: config.log,
            database: config.database,
            access: config.access,
            shutdown: shutdown.clone(),
            refusals,
            snapshots: Semaphore::new(SNAPSHOTS_AT_ONCE),
            began: Instant::now(),
            origins: config.origins,
            keep_alive: config.keep_alive,
            connections: AtomicU64::new(1),
        };
        tracing::info!("fan-out started");
        Ok(Self {
            fanout: web::Data::new(fanout),
            tickets: web::Data::new(tickets),
            authenticator: web::Data::new(config.authenticator),
            readiness,
            tasks,
        })
    }

    /// The routes, for a listener.
    pub fn routes(&self) -> Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync> {
        let (fanout, tickets, authenticator) = (self.fanout.clone(), self.tickets.clone(), self.authenticator.clone());
        Arc::new(move |config: &mut web::ServiceConfig| {
            config
                .app_data(fanout.clone())
                .app_data(tickets.clone())
                .app_data(authenticator.clone())
                .service(connect)
                .service(ticket::issue);
        })
    }

    /// What must answer for the fan-out to do its work.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Listens on an address of its own; answers with the one that it got.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn listen(&mut self, addr: SocketAddr, tls: Option<Tls>) -> Result<SocketAddr, StartError> {
        let (routes, readiness) = (self.routes(), self.readiness.clone());
        let over_tls = tls.is_some();
        let origins = self.fanout.origins.clone();
        let application = move || {
            App::new()
                .wrap(request::safe_headers(over_tls))
                .wrap(origins.cors())
                .wrap(from_fn(request::trace))
                .app_data(web::Data::new(readiness.clone()))
                .configure(health::routes)
                .configure(|config| routes(config))
        };
        let settings = listener::Settings {
            keep_alive: self.fanout.keep_alive,
            grace_s: GRACE_S,
            tls,
            ..listener::Settings::default()
        };
        Ok(listener::listen(addr, settings, application, &self.fanout.shutdown, &mut self.tasks)?)
    }

    /// Until everything has stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The fan-out's routes, described.
pub fn api() -> utoipa::openapi::OpenApi {
    Operations::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(connect, ticket::issue))]
struct Operations;

/// A WebSocket (RFC 6455) with the subprotocol `waybill.v1`: origin first, then who it is, and only then the upgrade.
#[utoipa::path(
    tag = "progress",
    operation_id = "watch_progress",
    responses(
        (status = 101, description = "Switching to WebSocket"),
        (status = 401, description = "`token_missing`, `token_invalid`, `ticket_invalid`"),
        (status = 403, description = "`origin_refused`, `not_registered`"),
        (status = 400, description = "`upgrade_required`: no handshake (RFC 6455)"),
    ),
)]
#[get("/v1/progress")]
pub(crate) async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    fanout: web::Data<Fanout>,
    tickets: web::Data<Tickets>,
    authenticator: web::Data<Authenticator>,
    id: RequestId,
) -> Result<HttpResponse, actix_web::Error> {
    let origin = ticket::origin(request.headers());
    if origin.is_some_and(|origin| !fanout.origins.allow(&request, origin)) {
        let detail = "pages of this origin may not connect: it is neither the server's own, as the Host header says it, nor \
                      on WAYBILL_ALLOWED_ORIGINS";
        return Err(Problem::new(403, "origin_refused", detail).into());
    }
    let offered = offered_protocols(request.headers());
    let principal = match offered.iter().find_map(|protocol| protocol.strip_prefix("ticket.")) {
        Some(ticket) => redeem(&tickets, ticket, origin).await?,
        None => Principal::extract(&request).await?,
    };
    if fanout.access.standing(principal.company_id, principal.user_id).await.map_err(Problem::from)?.has_ended() {
        let detail = "the company or the user is not registered here, or no longer";
        return Err(Problem::new(403, "not_registered", detail).into());
    }
    if fanout.shutdown.is_triggered() {
        return Err(Problem::unavailable("this server is stopping; try again").into());
    }
    let too_big = TooBig::default();
    let guarded = guarded(payload.into_inner(), too_big.clone());
    let mut guarded: dev::Payload = dev::Payload::Stream { payload: Box::pin(guarded) };
    let payload = web::Payload::from_request(&request, &mut guarded).await?;
    let upgraded = actix_ws::handle_with_protocols(&request, payload, &[SUBPROTOCOL]);
    let Ok((answer, mut session, stream)) = upgraded else { return Err(no_handshake().into()) };
    greet(&mut session).await?;
    let inbound =
        stream.max_frame_size(FRAME_MAX_BYTES).aggregate_continuations().max_continuation_size(FRAME_MAX_BYTES);
    body::written_within(&request, WRITE_WITHIN);
    let client = Client { principal, id, too_big };
    actix_web::rt::spawn(Connection::open(fanout.into_inner(), authenticator, client, session, inbound).run());
    Ok(answer)
}

/// RFC 6455 §4.2.1.
fn no_handshake() -> Problem {
    Problem::bad_request("upgrade_required", "this is a WebSocket: begin with the handshake of RFC 6455")
}

fn offered_protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|protocol| protocol.trim().to_owned()).collect()
}

async fn redeem(tickets: &Tickets, ticket: &str, origin: Option<&str>) -> Result<Principal, Problem> {
    let redeemed = tickets.redeem(ticket, origin).await.map_err(|error| {
        tracing::warn!(%error, "a ticket is not redeemed");
        Problem::unavailable("tickets cannot be redeemed now; try again")
    })?;
    redeemed.ok_or_else(|| Problem::new(401, "ticket_invalid", "the ticket is unknown, used or expired; get a new one"))
}
