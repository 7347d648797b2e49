//! Watches which workers are alive. Resolves their host names every second, so that it finds new workers when a service
//! is scaled up.

use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::Instant;
use waybill_schema::UploadId;
use waybill_service_kit::Shutdown;
use waybill_service_kit::tls::{Connector, Stream, TlsError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Maximum time for a response to a health check.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for which a worker that refused a signature comes after the others.
const LAST_AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// Number of consecutive health checks without a response after which a worker counts as frozen. A worker that refuses
/// connections is removed immediately.
const FROZEN_AFTER: u32 = 3;

/// Workers that are alive.
#[derive(Clone)]
pub(crate) struct WorkerPool {
    seen: watch::Receiver<Seen>,
    /// Present if the workers use TLS.
    tls: Option<Connector>,
    /// Workers that refused a signature, and the times at which they did.
    refused: Arc<Mutex<HashMap<SocketAddr, Instant>>>,
}

/// Result of the last health check of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    live: BTreeSet<SocketAddr>,
    /// Workers that do not respond, although nothing refuses the connection: the machine hangs, or the process was
    /// stopped.
    frozen: BTreeSet<SocketAddr>,
    /// Host names of the workers, for which their certificates must be valid.
    names: BTreeMap<SocketAddr, String>,
}

/// Error in the configured URLs of the workers.
#[derive(Debug, thiserror::Error)]
pub enum WorkerUrlError {
    /// A URL does not have the form `http://host:port` or `https://host:port`.
    #[error("WAYBILL_WORKER_URLS: {0} is not of the form http://host:port or https://host:port")]
    Form(String),
    /// Some URLs use TLS and others do not. Bytes that arrive over TLS must not be forwarded unencrypted.
    #[error("WAYBILL_WORKER_URLS: use http for all URLs or https for all URLs")]
    Mixed,
    /// TLS cannot be set up.
    #[error("WAYBILL_WORKER_URLS: {0}")]
    Tls(#[from] TlsError),
}

impl WorkerPool {
    /// Checks the workers at `urls` now, and then every second until shutdown.
    pub(crate) async fn watch(urls: &[String], shutdown: Shutdown) -> Result<Self, WorkerUrlError> {
        let secure = urls.iter().filter(|url| url.trim().starts_with("https://")).count();
        if secure > 0 && secure < urls.len() {
            return Err(WorkerUrlError::Mixed);
        }
        let tls = (secure > 0).then(Connector::of_system).transpose()?;
        let hosts = urls.iter().map(|url| host_of(url)).collect::<Result<Vec<_>, _>>()?;
        let mut silent = BTreeMap::new();
        let (sender, seen) = watch::channel(look(&hosts, tls.as_ref(), &mut silent).await);
        let looking = tls.clone();
        tokio::spawn(async move {
            while shutdown.unless(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                let found = look(&hosts, looking.as_ref(), &mut silent).await;
                sender.send_if_modified(|seen| {
                    let changed = *seen != found;
                    if changed {
                        let (live, frozen) = (found.live.len(), found.frozen.len());
                        tracing::info!(live, frozen, "the set of workers changed");
                        *seen = found;
                    }
                    changed
                });
            }
        });
        Ok(Self { seen, tls, refused: Arc::default() })
    }

    /// Connects to a worker; `None` if that fails.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> Option<Stream> {
        let name = self.seen.borrow().names.get(&addr).cloned();
        connect(addr, self.tls.as_ref(), name.as_deref()).await
    }

    /// Returns `true` if at least one worker is alive.
    pub(crate) fn any(&self) -> bool {
        !self.seen.borrow().live.is_empty()
    }

    /// Waits until the worker counts as frozen. Its requests can be abandoned then.
    pub(crate) async fn freezes(&self, addr: SocketAddr) {
        let mut seen = self.seen.clone();
        if seen.wait_for(|seen| seen.frozen.contains(&addr)).await.is_err() {
            // The health checks have ended because the gateway is shutting down.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the live workers in order of preference for an upload. Uses rendezvous hashing: when a worker
    /// disappears, only its own uploads move to other workers.
    pub(crate) fn ranked(&self, upload: UploadId) -> Vec<SocketAddr> {
        let mut ranked: Vec<SocketAddr> = self.seen.borrow().live.iter().copied().collect();
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        ranked.sort_by_cached_key(|addr| {
            let mut sha256 = Sha256::new();
            sha256.update(upload.0.as_bytes());
            sha256.update(addr.to_string());
            let has_refused = refused.get(addr).is_some_and(|at| at.elapsed() < LAST_AFTER_REFUSAL);
            (has_refused, <[u8; 32]>::from(sha256.finalize()))
        });
        ranked
    }

    /// Puts a worker behind the others for a while, because it refused the signature of a request: its clock is wrong,
    /// or it does not have the secret.
    pub(crate) fn has_refused(&self, addr: SocketAddr) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(addr, Instant::now());
    }
}

fn host_of(url: &str) -> Result<String, WorkerUrlError> {
    let invalid = || WorkerUrlError::Form(url.to_owned());
    let url = url.trim();
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or_else(invalid)?;
    let host = host.trim_end_matches('/');
    let port = host.rsplit_once(':').map(|(_, port)| port).ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    Ok(host.to_owned())
}

/// Checks all workers. `silent` counts the consecutive checks without a response for each worker.
async fn look(hosts: &[String], tls: Option<&Connector>, silent: &mut BTreeMap<SocketAddr, u32>) -> Seen {
    let mut names = BTreeMap::new();
    for host in hosts {
        if let Ok(Ok(addresses)) = tokio::time::timeout(LOOK_EVERY, lookup_host(host.as_str())).await {
            let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).trim_matches(['[', ']']);
            names.extend(addresses.map(|addr| (addr, name.to_owned())));
        }
    }
    silent.retain(|addr, _| names.contains_key(addr));
    let answers = join_all(names.iter().map(|(addr, name)| async move {
        (*addr, tokio::time::timeout(ANSWER_TIMEOUT, lives(*addr, tls, name)).await)
    }));
    let mut seen = Seen::default();
    for (addr, answer) in answers.await {
        match answer {
            Ok(Some(())) => {
                silent.remove(&addr);
                seen.live.insert(addr);
            }
            Ok(None) => drop(silent.remove(&addr)),
            // A busy machine may miss one or two checks.
            Err(_) => {
                let looks = silent.entry(addr).and_modify(|looks| *looks += 1).or_insert(1);
                if *looks >= FROZEN_AFTER { &mut seen.frozen } else { &mut seen.live }.insert(addr);
            }
        }
    }
    seen.names = names;
    seen
}

async fn connect(addr: SocketAddr, tls: Option<&Connector>, name: Option<&str>) -> Option<Stream> {
    let stream = TcpStream::connect(addr).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let Some(tls) = tls else { return Some(Stream::Plain(stream)) };
    match tls.connect(name?, stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%addr, %error, "cannot establish TLS with a worker");
            None
        }
    }
}

/// Requests the worker's `/healthz`; `None` if the worker is not healthy. A connection alone proves nothing, because
/// the kernel accepts it even if the process is stopped.
async fn lives(addr: SocketAddr, tls: Option<&Connector>, name: &str) -> Option<()> {
    let stream = connect(addr, tls, Some(name)).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/healthz").header(header::HOST, addr.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await;
    driver.abort();
    answer.ok().filter(|answer| answer.status().is_success()).map(drop)
}
