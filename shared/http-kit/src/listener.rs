//! HTTP listener that runs until shutdown.

use crate::connection::Connection;
use actix_http::ConnectionType;
use actix_http::HttpService;
use actix_http::body::MessageBody;
use actix_http::error::DispatchError;
use actix_http::{Request, Response};
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, boxed, fn_service, map_config};
use actix_web::Error;
use actix_web::dev::AppConfig;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use waybill_service_kit::tls::Stream;
use waybill_service_kit::{Shutdown, Tls};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 2_048;

/// Time for which a listener that stops keeps connections without a running request open. A client that has just
/// connected can still send its first request.
const FIRST_REQUEST_WITHIN: Duration = Duration::from_millis(300);

/// Settings of a listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time after which an idle connection is closed.
    pub keep_alive: Duration,
    /// Maximum time for receiving the head of the first request.
    pub head_timeout: Duration,
    /// Time in seconds in which running requests can finish when the listener stops.
    pub grace_s: u64,
    /// The certificate for TLS. Without it, the listener accepts plain HTTP.
    pub tls: Option<Tls>,
    /// Number of threads; by default the number of cores.
    pub threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { keep_alive: s(5), head_timeout: s(5), grace_s: 20, tls: None, threads: None }
    }
}

/// Listens at `addr` and serves applications until `shutdown` is triggered. `factory` creates one application for each
/// thread, and the server runs as tasks of `tasks`. Returns the bound address, whose port is chosen by the system if
/// `addr` has port 0.
///
/// Differs from the server of actix-web in one point: its connections report their end only after all received bytes
/// were read ([`crate::body`]).
///
/// # Errors
/// Fails if the address cannot be bound.
pub fn listen<F, I, S, B>(
    addr: SocketAddr,
    settings: Settings,
    factory: F,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> io::Result<SocketAddr>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request> + 'static,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let listener = bind(addr)?;
    let bound = listener.local_addr()?;
    let (stopping, tls) = (shutdown.clone(), settings.tls.clone());
    if let Some(tls) = tls.clone() {
        tasks.spawn(tls.follow_files(shutdown.clone()));
    }
    let mut server = Server::build().disable_signals().shutdown_timeout(settings.grace_s);
    if let Some(threads) = settings.threads {
        server = server.workers(threads);
    }
    let server = server.listen(format!("http-{bound}"), listener, move || {
        let (stopping, ending) = (stopping.clone(), stopping.clone());
        let application = factory().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move {
                    stopping.triggered().await;
                    tokio::time::sleep(FIRST_REQUEST_WITHIN).await;
                }
            })
            .keep_alive(settings.keep_alive)
            .client_request_timeout(settings.head_timeout)
            .local_addr(bound)
            .on_connect_ext(|connection: &Connection, extensions| {
                extensions.insert(connection.end());
            })
            .h1(map_config(application, |()| AppConfig::default()).map(move |answer: S::Response| {
                let mut answer: Response<B> = answer.into();
                // A client that sends requests without a pause then never sends one on a connection that is being closed.
                if ending.is_triggered() && !answer.upgrade() {
                    answer.head_mut().set_connection_type(ConnectionType::Close);
                }
                answer
            }));
        let tls = tls.clone();
        let accepted = fn_service(move |stream: TcpStream| {
            let tls = tls.clone();
            async move {
                // Frames and interim answers are small writes. They must not wait for the acknowledgement of the
                // previous one.
                stream.set_nodelay(true).map_err(DispatchError::Io)?;
                let peer = stream.peer_addr().ok();
                let stream = match tls {
                    None => Stream::Plain(stream),
                    // The future of a handshake is large and short-lived. It is boxed so that it does not enlarge
                    // connections.
                    Some(tls) => Box::pin(tls.accept(stream)).await.map_err(DispatchError::Io)?,
                };
                Ok((Connection::new(stream), peer))
            }
        });
        // A task of actix-server reserves space for the future of a connection twice. A boxed future takes only a
        // pointer.
        boxed::factory(accepted.and_then(http))
    })?;
    serve(server.run(), shutdown, tasks);
    Ok(bound)
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Runs `server` until `shutdown` is triggered. Running requests can then finish within its `shutdown_timeout`.
fn serve(server: Server, shutdown: &Shutdown, tasks: &mut JoinSet<()>) {
    let handle = server.handle();
    let shutdown = shutdown.clone();
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "a listener failed");
        }
    });
    tasks.spawn(async move {
        shutdown.triggered().await;
        handle.stop(true).await;
    });
}
