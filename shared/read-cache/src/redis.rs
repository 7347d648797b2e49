//! The connection to Redis or Valkey. As soon as it fails or is too slow, nothing is read or written until it answers in time again, so
//! that few requests wait for it.

use crate::metrics::{FAILURES, USABLE};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, cmd};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use waybill_service_kit::Shutdown;

/// Time within which Redis must answer. A query of PostgreSQL takes about a tenth of it.
const WITHIN: Duration = Duration::from_millis(50);

/// Time within which Redis must accept a value.
const WRITE_WITHIN: Duration = Duration::from_secs(2);

/// Time within which a connection must be established.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Pause before the next attempt to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Maximum number of writes at the same time. Further values are not written.
const WRITES: usize = 64;

/// `WAYBILL_REDIS_URL` is not a URL of Redis.
#[derive(Debug, thiserror::Error)]
#[error("WAYBILL_REDIS_URL must be redis://[user:password@]host:port[/database], or rediss:// for TLS: {0}")]
pub struct RedisUrlError(#[source] RedisError);

/// A server of Redis or Valkey.
pub struct Redis {
    client: Client,
    /// The connections; `None` while the server does not answer in time.
    connections: RwLock<Option<Connections>>,
    failed: Notify,
    writes: Arc<Semaphore>,
}

/// Connections to the server. Large values that are written do not delay reads.
#[derive(Clone)]
struct Connections {
    reads: MultiplexedConnection,
    writes: MultiplexedConnection,
}

impl Redis {
    /// Creates a client, which [`Redis::watch`] connects.
    ///
    /// # Errors
    /// [`RedisUrlError`].
    pub fn new(url: &str) -> Result<Arc<Self>, RedisUrlError> {
        Ok(Arc::new(Self {
            client: Client::open(url).map_err(RedisUrlError)?,
            connections: RwLock::default(),
            failed: Notify::new(),
            writes: Arc::new(Semaphore::new(WRITES)),
        }))
    }

    /// Connects, and connects again after failures, until shutdown.
    pub async fn watch(self: Arc<Self>, shutdown: Shutdown) {
        let mut is_first = true;
        loop {
            let connected = shutdown.unless(self.connect()).await;
            match connected {
                None => return,
                Some(Ok(connections)) => {
                    tracing::info!("Redis answers");
                    self.use_now(Some(connections));
                    if shutdown.unless(self.failed.notified()).await.is_none() {
                        return;
                    }
                }
                // Further attempts fail for the same reason.
                Some(Err(error)) if is_first => {
                    tracing::warn!(%error, "Redis does not answer in time; PostgreSQL answers instead");
                }
                Some(Err(_)) => {}
            }
            is_first = false;
            if shutdown.unless(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    async fn connect(&self) -> Result<Connections, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_WITHIN)).set_response_timeout(None);
        let mut reads = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        within(WITHIN, cmd("PING").query_async::<()>(&mut reads)).await?;
        let writes = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connections { reads, writes })
    }

    /// Returns the version of the server.
    ///
    /// # Errors
    /// [`RedisError`], also if the server does not answer in time.
    pub async fn version(&self) -> Result<String, RedisError> {
        let mut connection = self.connect().await?.reads;
        let info: String = within(CONNECT_WITHIN, cmd("INFO").arg("server").query_async(&mut connection)).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("unknown").to_owned())
    }

    /// Returns the value of a key; `None` if the key has no value or Redis does not answer in time.
    pub(crate) async fn get(&self, key: String) -> Option<Vec<u8>> {
        let Connections { mut reads, .. } = self.connections()?;
        let mut get = cmd("GET");
        get.arg(key);
        self.note(within(WITHIN, get.query_async::<Option<Vec<u8>>>(&mut reads)).await)?
    }

    /// Sets a key in the background, for `time`.
    pub(crate) fn set(self: &Arc<Self>, key: String, value: Vec<u8>, time: Duration) {
        let (Some(Connections { mut writes, .. }), Ok(permit)) =
            (self.connections(), self.writes.clone().try_acquire_owned())
        else {
            return;
        };
        let redis = self.clone();
        tokio::spawn(async move {
            let mut set = cmd("SET");
            set.arg(key).arg(value).arg("PX").arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            redis.note(within(WRITE_WITHIN, set.query_async::<()>(&mut writes)).await);
            drop(permit);
        });
    }

    /// Returns the answer. After an error of the connection, the server is not asked until it answers again.
    fn note<T>(&self, answer: Result<T, RedisError>) -> Option<T> {
        let error = match answer {
            Ok(answer) => return Some(answer),
            Err(error) => error,
        };
        FAILURES.inc();
        // The server answered: it may be full, for example.
        let is_of_connection = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
        if is_of_connection && self.use_now(None) {
            tracing::warn!(%error, "Redis does not answer in time; PostgreSQL answers instead");
            self.failed.notify_one();
        }
        None
    }

    fn connections(&self) -> Option<Connections> {
        self.connections.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or removes the connections. Returns `true` if there were any.
    fn use_now(&self, connections: Option<Connections>) -> bool {
        USABLE.set(connections.is_some().into());
        let mut current = self.connections.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, connections).is_some()
    }
}

/// Returns the host to which a URL of Redis leads without TLS, if there is one.
pub fn host_in_clear(url: &str) -> Option<String> {
    match url.into_connection_info().ok()?.addr() {
        ConnectionAddr::Tcp(host, _) => Some(host.clone()),
        _ => None,
    }
}

async fn within<T>(time: Duration, answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(time, answer).await.map_err(late)?
}
