//! Which workers are alive. Names are resolved again and again, so that a service that is scaled up is found.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use waybill_schema::UploadId;
use waybill_service_kit::Shutdown;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The workers that are alive.
#[derive(Clone)]
pub(crate) struct WorkerPool {
    live: watch::Receiver<BTreeSet<SocketAddr>>,
}

/// A worker URL that is not `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WAYBILL_WORKER_URLS: {0} is not of the form http://host:port")]
pub struct WorkerUrlError(String);

impl WorkerPool {
    /// Watches the workers behind `urls` until shutdown.
    pub(crate) async fn watch(urls: &[String], shutdown: Shutdown) -> Result<Self, WorkerUrlError> {
        let hosts = urls.iter().map(|url| host_of(url)).collect::<Result<Vec<_>, _>>()?;
        let (sender, live) = watch::channel(look(&hosts).await);
        tokio::spawn(async move {
            while shutdown.unless(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                let found = look(&hosts).await;
                sender.send_if_modified(|live| {
                    let changed = *live != found;
                    if changed {
                        tracing::info!(workers = found.len(), "the live workers changed");
                        *live = found;
                    }
                    changed
                });
            }
        });
        Ok(Self { live })
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        !self.live.borrow().is_empty()
    }

    /// The workers for an upload, the one that has it first: rendezvous hashing, so that when a worker goes only its
    /// own uploads move.
    pub(crate) fn ranked(&self, upload: UploadId) -> Vec<SocketAddr> {
        let mut ranked: Vec<SocketAddr> = self.live.borrow().iter().copied().collect();
        ranked.sort_by_cached_key(|addr| {
            let mut sha256 = Sha256::new();
            sha256.update(upload.0.as_bytes());
            sha256.update(addr.to_string());
            <[u8; 32]>::from(sha256.finalize())
        });
        ranked
    }
}

fn host_of(url: &str) -> Result<String, WorkerUrlError> {
    let invalid = || WorkerUrlError(url.to_owned());
    let host = url.trim().strip_prefix("http://").ok_or_else(invalid)?.trim_end_matches('/');
    let port = host.rsplit_once(':').map(|(_, port)| port).ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    Ok(host.to_owned())
}

async fn look(hosts: &[String]) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for host in hosts {
        if let Ok(Ok(addresses)) = tokio::time::timeout(LOOK_EVERY, lookup_host(host.as_str())).await {
            found.extend(addresses);
        }
    }
    let mut live = BTreeSet::new();
    for addr in found {
        if matches!(tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await, Ok(Ok(_))) {
            live.insert(addr);
        }
    }
    live
}
