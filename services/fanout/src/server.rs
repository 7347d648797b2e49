//! Starts and stops a fan-out, and handles the WebSocket handshake.

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
use waybill_schema::ErrorCode;
use waybill_schema::names;
use waybill_service_kit::health::{self, Readiness};
use waybill_service_kit::{
    Authenticator, Origins, Principal, Problem, RequestId, Shutdown, Tls, body, listener, request,
};

/// Maximum size of a frame or message of a client in bytes.
pub(crate) const FRAME_MAX_BYTES: usize = 4 * 1_024;
/// Time that open requests have to finish at shutdown, in seconds.
const GRACE_S: u64 = 20;
/// Maximum number of snapshots that are taken at the same time. It bounds the memory for a burst of subscriptions.
const SNAPSHOTS_AT_ONCE: usize = 32;
/// Maximum time for which a client may not read before its connection is closed.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Configuration of a fan-out.
pub struct Config {
    /// Authenticates the tokens of clients.
    pub authenticator: Authenticator,
    /// Origins from which browsers may connect, in addition to the fan-out's own origin.
    pub origins: Origins,
    /// Time for which an idle HTTP connection is kept open.
    pub keep_alive: Duration,
    /// NATS connection that `log` uses.
    pub nats: async_nats::Client,
    /// The event log.
    pub log: Arc<dyn EventLog>,
    /// The read model.
    pub database: Database,
    /// Authorization.
    pub access: Arc<Access>,
}

/// Reason why a fan-out could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bucket is missing.
    #[error("{0}; run `waybill provision`")]
    Bucket(#[from] BucketError),
    /// The fan-out cannot listen on the address.
    #[error("cannot listen on the address: {0}")]
    Listen(#[from] std::io::Error),
}

/// Permit to take a snapshot.
pub(crate) type Turn<'a> = Option<SemaphorePermit<'a>>;

/// State that all connections share.
pub(crate) struct Fanout {
    pub(crate) hub: Arc<Hub>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) database: Database,
    pub(crate) access: Arc<Access>,
    pub(crate) shutdown: Shutdown,
    pub(crate) refusals: Keeper,
    snapshots: Semaphore,
    /// Start time, from which the ping times of all connections are counted.
    pub(crate) began: Instant,
    origins: Origins,
    keep_alive: Duration,
    connections: AtomicU64,
}

#[cfg(test)]
impl Fanout {
    /// Creates a fan-out with an empty log in memory, without NATS and PostgreSQL.
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
    /// Returns the number of a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for a permit to take a snapshot. Dropping the value returns the permit.
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
    /// Starts to follow the log until `shutdown` is triggered. To serve clients, add [`Server::routes`] to an existing
    /// listener, or call [`Server::listen`].
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

    /// Returns the routes for a listener.
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

    /// Returns the readiness checks: NATS and PostgreSQL must answer.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Listens on `addr` and returns the actual address.
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

    /// Waits until all tasks have stopped.
    pub fn stopped(self) -> BoxFuture<'static, ()> {
        Box::pin(self.all_stopped())
    }

    async fn all_stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Returns the OpenAPI description of the fan-out's routes.
pub fn api() -> utoipa::openapi::OpenApi {
    Operations::openapi()
}

#[derive(OpenApi)]
#[openapi(paths(connect, ticket::issue))]
struct Operations;

/// Opens a WebSocket (RFC 6455) with the subprotocol `waybill.v1`. The server checks the origin and then the token or
/// ticket before the upgrade.
#[utoipa::path(
    tag = "progress",
    operation_id = "watch_progress",
    security(()),
    responses(
        (status = 101, description = "Switching to WebSocket"),
        (status = 401, description = "`token_missing`, `token_invalid`, `ticket_invalid`"),
        (status = 403, description = "`origin_refused`, `not_registered`"),
        (status = 400, description = "`upgrade_required`: the request is not a WebSocket handshake (RFC 6455)"),
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
        let detail = "pages of this origin may not connect: the origin is neither the server's own according to the Host \
                      header nor listed in WAYBILL_ALLOWED_ORIGINS";
        return Err(Problem::new(403, ErrorCode::OriginRefused, detail).into());
    }
    let offered = offered_protocols(request.headers());
    let principal = match offered.iter().find_map(|protocol| protocol.strip_prefix("ticket.")) {
        Some(ticket) => redeem(&tickets, ticket, origin).await?,
        None => Principal::extract(&request).await?,
    };
    if fanout.access.standing(principal.company_id, principal.user_id).await.map_err(Problem::from)?.has_ended() {
        let detail = "the company or the user is not registered, or has been removed";
        return Err(Problem::new(403, ErrorCode::NotRegistered, detail).into());
    }
    if fanout.shutdown.is_triggered() {
        return Err(Problem::unavailable("this server is stopping; connect again").into());
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

/// Returns the problem for a request that is not a handshake (RFC 6455 §4.2.1).
fn no_handshake() -> Problem {
    Problem::bad_request(ErrorCode::UpgradeRequired, "this route is a WebSocket; begin with the handshake of RFC 6455")
}

fn offered_protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|protocol| protocol.trim().to_owned()).collect()
}

async fn redeem(tickets: &Tickets, ticket: &str, origin: Option<&str>) -> Result<Principal, Problem> {
    let redeemed = tickets.redeem(ticket, origin).await.map_err(|error| {
        tracing::warn!(%error, "cannot redeem a ticket");
        Problem::unavailable("tickets cannot be redeemed at the moment; try again")
    })?;
    redeemed.ok_or_else(|| {
        Problem::new(401, ErrorCode::TicketInvalid, "the ticket is unknown, used or expired; get a new one")
    })
}
