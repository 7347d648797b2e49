//! Connections, schemas, migrations.

use crate::{MIGRATIONS, ReadModelError};
use deadpool::managed::QueueMode;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Text};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::MigrationHarness;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a statement may take, where nothing else is said: whoever waits for it is then told to come again.
const STATEMENT_WITHIN: Duration = Duration::from_secs(10);

/// The name of a Postgres schema: letters, digits and underscores, so that it never needs quoting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

/// The text is no schema name that Waybill uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a schema name has 1 to 63 lower-case letters, digits and underscores, and begins with a letter")]
pub struct SchemaNameError;

impl FromStr for SchemaName {
    type Err = SchemaNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let valid = (1..=63).contains(&text.len())
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.bytes().all(allowed);
        if valid { Ok(Self(text.to_owned())) } else { Err(SchemaNameError) }
    }
}

impl SchemaName {
    /// The name with `ending` behind it.
    ///
    /// # Errors
    /// [`SchemaNameError`] if that is too long, or no name.
    pub fn with_ending(&self, ending: &str) -> Result<Self, SchemaNameError> {
        format!("{}{ending}", self.0).parse()
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the read models are.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The schema that the tables are in.
    pub schema: SchemaName,
    /// How many connections at most.
    pub pool_size: usize,
}

/// A connection of the pool; goes back when it is dropped.
pub type Connection = Object<AsyncPgConnection>;

/// A pool of connections whose `search_path` is one schema.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    config: DatabaseConfig,
    limits: Limits,
}

/// How long PostgreSQL waits in a session. 0 stands for as long as it takes.
#[derive(Clone, Copy, Default)]
struct Limits {
    /// For the end of a statement.
    statement: Duration,
    /// For a client that holds locks, and says nothing or cannot be reached.
    client: Duration,
}

/// What [`Database::inspect`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The server's version, such as `17.2`.
    pub version: String,
    /// Migrations that were not run yet.
    pub pending_migrations: usize,
}

impl Database {
    /// A pool; connects when it is first used.
    ///
    /// # Errors
    /// [`ReadModelError::Unavailable`] where the settings are of no use.
    pub fn new(config: DatabaseConfig) -> Result<Self, ReadModelError> {
        Self::with(config, Limits { statement: STATEMENT_WITHIN, client: Duration::ZERO })
    }

    /// The same tables for work that takes long, such as a rebuild: statements have all the time that they need.
    ///
    /// # Errors
    /// As [`Database::new`].
    pub fn patient(&self) -> Result<Self, ReadModelError> {
        Self::with(self.config.clone(), Limits::default())
    }

    /// The same as [`Database::patient`], for work under a lease: the locks of a process that hangs, or whose host is lost, end
    /// within `within`.
    ///
    /// # Errors
    /// As [`Database::new`].
    pub fn leased(&self, within: Duration) -> Result<Self, ReadModelError> {
        Self::with(self.config.clone(), Limits { statement: Duration::ZERO, client: within })
    }

    fn with(config: DatabaseConfig, limits: Limits) -> Result<Self, ReadModelError> {
        let url = connection_url(&config, limits);
        let mut manager_config = ManagerConfig::default();
        manager_config.custom_setup = Box::new(|url| establish(url.to_owned()).boxed());
        if !limits.client.is_zero() {
            // PostgreSQL may have ended the session while nobody used it.
            manager_config.recycling_method = RecyclingMethod::Verified;
        }
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, manager_config);
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            // Those that have planned their statements are used again, and one that was left in a transaction is soon found.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(Duration::from_secs(5)))
            .create_timeout(Some(Duration::from_secs(5)))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| unavailable("making a pool", error))?;
        Ok(Self { pool, config, limits })
    }

    /// The same tables by another pool of up to `pool_size` connections, whose work the runtime does that first asks for them.
    ///
    /// # Errors
    /// As [`Database::new`].
    pub fn apart(&self, pool_size: usize) -> Result<Self, ReadModelError> {
        Self::with(DatabaseConfig { pool_size, ..self.config.clone() }, self.limits)
    }

    /// The same server, another schema.
    ///
    /// # Errors
    /// As [`Database::new`].
    pub fn in_schema(&self, schema: SchemaName) -> Result<Self, ReadModelError> {
        Self::with(DatabaseConfig { schema, ..self.config.clone() }, self.limits)
    }

    /// How many connections there are at most.
    pub fn pool_size(&self) -> usize {
        self.config.pool_size
    }

    /// The schema that the tables are in.
    pub fn schema(&self) -> &SchemaName {
        &self.config.schema
    }

    /// A connection.
    ///
    /// # Errors
    /// [`ReadModelError::Unavailable`].
    pub fn connection(&self) -> BoxFuture<'_, Result<Connection, ReadModelError>> {
        Box::pin(async move { self.pool.get().await.map_err(|error| not_connected("connecting", error)) })
    }

    /// Makes the schema, and its tables as the migrations say.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn migrate(&self) -> BoxFuture<'_, Result<(), ReadModelError>> {
        Box::pin(async move {
            let operation = "migrating";
            let mut connection = establish(connection_url(&self.config, Limits::default()))
                .await
                .map_err(|error| not_connected(operation, error))?;
            // Of several processes that start at once, one migrates and the others wait.
            let schema = &self.config.schema;
            connection
                .batch_execute(&format!(
                    "SELECT pg_advisory_lock(hashtext('waybill migrations')); CREATE SCHEMA IF NOT EXISTS {schema};"
                ))
                .await
                .map_err(ReadModelError::query(operation))?;
            let mut harness = AsyncMigrationHarness::new(connection);
            harness.run_pending_migrations(MIGRATIONS).map_err(|error| unavailable(operation, error))?;
            Ok(())
        })
    }

    /// Which PostgreSQL this is, and how many migrations its tables lack.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ReadModelError>> {
        Box::pin(async move {
            let operation = "looking at the tables";
            let mut connection = establish(connection_url(&self.config, Limits::default()))
                .await
                .map_err(|error| not_connected(operation, error))?;
            let text = "current_setting('server_version'), to_regclass('__diesel_schema_migrations') IS NOT NULL";
            let facts = diesel::select(diesel::dsl::sql::<(Text, Bool)>(text));
            let (version, has_tables): (String, bool) =
                facts.get_result(&mut connection).await.map_err(ReadModelError::query(operation))?;
            let failed = |error: Box<dyn std::error::Error + Send + Sync>| unavailable(operation, error);
            let pending = if has_tables {
                AsyncMigrationHarness::new(connection).pending_migrations(MIGRATIONS).map_err(failed)?.len()
            } else {
                // Asking for the list of those that were run would make one.
                MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(failed)?.len()
            };
            Ok(Inspection { version, pending_migrations: pending })
        })
    }

    /// Drops the schema with all that is in it.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn drop_schema(&self) -> BoxFuture<'_, Result<(), ReadModelError>> {
        Box::pin(async move {
            let mut connection = self.connection().await?;
            connection
                .batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.config.schema))
                .await
                .map_err(ReadModelError::query("dropping a schema"))
        })
    }
}

/// A connection; with `sslmode=require` over TLS, whose certificate must be good for the host (as libpq's `verify-full`).
async fn establish(url: String) -> ConnectionResult<AsyncPgConnection> {
    let refused = |error: &dyn fmt::Display| ConnectionError::BadConnection(error.to_string());
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| refused(&error))?;
    if config.get_ssl_mode() != SslMode::Require {
        return AsyncPgConnection::establish(&url).await;
    }
    let tls = waybill_service_kit::tls::client_config().map_err(|error| refused(&error))?;
    let connected = config.connect(MakeRustlsConnect::new(tls)).await;
    let (client, connection) = connected.map_err(|error| refused(&error))?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// The URL with what every connection of the pool has from the start: the schema as `search_path`; and no waiting for the
/// disk, for what a crash of Postgres loses is folded again from the log, with the checkpoint that is lost with it.
fn connection_url(config: &DatabaseConfig, limits: Limits) -> String {
    let separator = if config.url.contains('?') { '&' } else { '?' };
    let mut settings = vec![
        ("search_path", config.schema.to_string()),
        ("synchronous_commit", "off".to_owned()),
        // Planned once a connection. For tables with many partitions PostgreSQL would rather plan each time, which takes
        // longer than what is planned; queries whose plans depend on their values say so.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("statement_timeout", limits.statement.as_millis().to_string()),
    ];
    if !limits.client.is_zero() {
        let within = limits.client.as_millis().to_string();
        settings.extend([
            ("idle_in_transaction_session_timeout", within.clone()),
            ("tcp_user_timeout", within),
            ("tcp_keepalives_idle", "1".to_owned()),
            ("tcp_keepalives_interval", "1".to_owned()),
        ]);
    } else {
        // Of a request that was given up in the middle of one.
        settings.push(("idle_in_transaction_session_timeout", "60000".to_owned()));
    }
    let options: Vec<String> = settings.iter().map(|(name, value)| format!("-c{name}%3D{value}")).collect();
    format!("{}{separator}options={}", config.url, options.join("%20"))
}

/// What a server says that answers and does not let us in (SQLSTATE class 28, and 3D000); diesel passes only the text on.
const REFUSALS: [&str; 4] =
    ["authentication failed", "no pg_hba.conf entry", "\" does not exist", "not permitted to log in"];

/// Why there is no connection: nobody answers, or the server does not let us in.
fn not_connected(operation: &'static str, reason: impl fmt::Display) -> ReadModelError {
    let reason = reason.to_string();
    if REFUSALS.iter().any(|refusal| reason.contains(refusal)) {
        return ReadModelError::LoginRefused { operation, reason };
    }
    unavailable(operation, reason)
}

fn unavailable(operation: &'static str, reason: impl fmt::Display) -> ReadModelError {
    ReadModelError::Unavailable { operation, reason: reason.to_string() }
}
