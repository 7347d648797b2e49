//! The event log on NATS JetStream.

mod batch_get;
mod buckets;
mod error;
mod inspect;
mod log;
mod message;
mod metadata;
mod provision;
mod pulse;
mod raw;
mod reactions;
mod reconnect;
mod records;
mod signals;
mod vocabulary;

pub use error::ProvisionError;
pub use inspect::{Finding, inspect};
pub use log::JetStreamLog;
pub use provision::{Layout, provision};
pub use raw::RawEvents;
pub use reactions::{Delivery, Passing, Reactions};
pub use records::Records;
pub use vocabulary::{accept_events, check_vocabulary};

use async_nats::{ConnectError, ConnectErrorKind, ServerAddr, jetstream};
use futures_util::future::BoxFuture;
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of connections and requests.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of appends of one process that wait for their answers at the same time.
const APPENDS_IN_FLIGHT: usize = 4_096;

/// Address and login of NATS.
#[derive(Clone)]
pub struct Server {
    /// Comma-separated list of URLs. The login of the first URL that has one, `nats://user:password@host` or
    /// `nats://token@host`, is used for all servers.
    pub url: String,
    /// Name of the connections in the monitoring of NATS.
    pub name: &'static str,
    /// User and password. They take precedence over a login in the URL.
    pub login: Option<Login>,
    /// File with a JWT and its key, if they are the login.
    pub credentials_file: Option<PathBuf>,
    /// Prefix of the subjects at which the server answers requests, such as `_INBOX`.
    pub inbox_prefix: String,
}

/// User and password.
#[derive(Clone)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl Server {
    /// Connects to one of the servers. The client reconnects automatically as long as it exists.
    ///
    /// # Errors
    /// [`ConnectError`] if the first connection fails.
    pub fn connect(&self) -> BoxFuture<'_, Result<async_nats::Client, ConnectError>> {
        Box::pin(async move {
            let url = &self.url;
            let mut options = async_nats::ConnectOptions::new()
                .name(self.name)
                .custom_inbox_prefix(&self.inbox_prefix)
                .connection_timeout(REQUEST_TIMEOUT)
                .request_timeout(Some(REQUEST_TIMEOUT))
                .require_tls(url.split(',').any(|server| server.trim().starts_with("tls://")))
                .reconnect_delay_callback(|attempts| Duration::from_millis((50 * attempts as u64).min(500)));
            if let Some(file) = &self.credentials_file {
                let read = options.credentials_file(file).await;
                options = read.map_err(|error| {
                    let reason = format!("WAYBILL_NATS_CREDENTIALS_FILE: {error}");
                    ConnectError::with_source(ConnectErrorKind::Authentication, reason)
                })?;
            }
            let servers: Result<Vec<ServerAddr>, _> = url.split(',').map(|server| server.trim().parse()).collect();
            let servers = servers.map_err(|error| ConnectError::with_source(ConnectErrorKind::ServerParse, error))?;
            // The client library does not use the login in the URL.
            let of_url = || servers.iter().find_map(|server| Some((server.username()?, server.password())));
            if let Some(Login { user, password }) = &self.login {
                options = options.user_and_password(user.clone(), password.clone());
            } else if let Some((user, password)) = of_url() {
                let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
                options = match password {
                    Some(password) => options.user_and_password(plain(user), plain(password)),
                    None => options.token(plain(user)),
                };
            }
            options.connect(servers).await
        })
    }
}

fn context(client: async_nats::Client) -> jetstream::Context {
    jetstream::ContextBuilder::new().timeout(REQUEST_TIMEOUT).max_ack_inflight(APPENDS_IN_FLIGHT).build(client)
}
