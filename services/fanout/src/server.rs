//! Starts and stops a fan-out.

use crate::admission;
use crate::fanout::Fanout;
use crate::handshake;
use crate::hub::Hub;
use crate::settings::FanoutSettings;
use crate::ticket::{self, Tickets};
use actix_web::middleware::from_fn;
use actix_web::{App, web};
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use utoipa::OpenApi;
use waybill_access::Access;
use waybill_audit::denials::Recorder;
use waybill_event_log::jetstream::Records;
use waybill_event_log::{Bucket, BucketError, EventLog};
use waybill_http_kit::admission::{Admission, Rates};
use waybill_http_kit::health::{HealthRoutes, Readiness};
use waybill_http_kit::{Authenticator, Origins, Proxies, listener, request};
use waybill_read_model::Database;
use waybill_schema::names::{self, RecordKind};
use waybill_service_kit::{Shutdown, Tls};

/// Time that open requests have to finish at shutdown, in seconds.
const GRACE_S: u64 = 20;

/// Configuration of a fan-out.
pub struct Config {
    /// Authenticates the tokens of clients.
    pub authenticator: Authenticator,
    /// `true` if users who are not registered may connect, because their first request to a gateway registers them.
    pub auto_register: bool,
    /// Origins from which browsers may connect, in addition to the fan-out's own origin.
    pub origins: Origins,
    /// Settings of this role.
    pub settings: FanoutSettings,
    /// Trusted reverse proxies in front of the fan-out.
    pub proxies: Proxies,
    /// Rate limits of clients, if the fan-out has its own listener.
    pub rates: Rates,
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
    /// `true` if another listener serves readiness and metrics.
    pub has_operations: bool,
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

/// A running fan-out.
pub struct Server {
    fanout: web::Data<Fanout>,
    admission: web::Data<Admission>,
    tickets: web::Data<Tickets>,
    authenticator: web::Data<Authenticator>,
    keep_alive: Duration,
    readiness: Readiness,
    has_operations: bool,
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
        let hub = Arc::new(Hub::new(config.log.clone(), config.access.clone()));
        let mut tasks = JoinSet::new();
        let kept = Records::new(RecordKind::Refusal, config.nats.clone(), config.log.partitions());
        let (denials, recording) = Recorder::new(kept, shutdown.clone());
        tasks.spawn(recording);
        tasks.spawn(hub.clone().drain(shutdown.clone()));
        for partition in config.log.partitions().all() {
            tasks.spawn(hub.clone().follow(partition, shutdown.clone()));
        }
        let readiness = Readiness::default()
            .with("nats", config.log.clone(), |log| async move { log.head(0).await.map(drop) })
            .with("postgres", config.database.clone(), |database| async move { database.connection().await.map(drop) });
        let (log, database, access) = (config.log, config.database, config.access);
        let mut fanout = Fanout::new(hub, log, database, access, shutdown.clone(), denials);
        fanout.origins = config.origins;
        fanout.auto_register = config.auto_register;
        fanout.sockets = config.settings.sockets();
        let tickets = web::Data::new(tickets);
        tasks.spawn({
            let (tickets, shutdown) = (tickets.clone(), shutdown.clone());
            async move { tickets.tidy(shutdown).await }
        });
        tracing::info!("fan-out started");
        Ok(Self {
            fanout: web::Data::new(fanout),
            admission: web::Data::new(Admission::new(config.rates, config.proxies)),
            tickets,
            authenticator: web::Data::new(config.authenticator),
            keep_alive: config.keep_alive,
            readiness,
            has_operations: config.has_operations,
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
                .service(handshake::connect)
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
        let routes = self.routes();
        let health = HealthRoutes::beside_operations(self.readiness.clone(), self.has_operations);
        let over_tls = tls.is_some();
        let origins = self.fanout.origins.clone();
        let admission = self.admission.clone();
        self.tasks.spawn({
            let (admission, shutdown) = (admission.clone(), self.fanout.shutdown.clone());
            async move { admission.tidy(shutdown).await }
        });
        let application = move || {
            App::new()
                .app_data(admission.clone())
                .wrap(from_fn(admission::admit))
                .wrap(request::safe_headers(over_tls))
                .wrap(origins.cors())
                .wrap(from_fn(request::trace))
                .configure(|config| health.configure(config))
                .configure(|config| routes(config))
        };
        let settings =
            listener::Settings { keep_alive: self.keep_alive, grace_s: GRACE_S, tls, ..listener::Settings::default() };
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
#[openapi(paths(handshake::connect, ticket::issue))]
struct Operations;
