//! Connections, schemas and migrations of PostgreSQL.

use crate::terms::MetadataKeys;
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

/// Default timeout of a statement. After it, the waiting client gets an error and can try again.
const STATEMENT_WITHIN: Duration = Duration::from_secs(10);

/// Name of a PostgreSQL schema. It consists of lower-case letters, digits and underscores, so that it never needs
/// quoting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

/// The text is not a valid schema name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a schema name must have 1 to 63 lower-case letters, digits and underscores, and begin with a letter")]
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
    /// Returns the name with `ending` appended.
    ///
    /// # Errors
    /// [`SchemaNameError`] if the result is too long or not a valid name.
    pub fn with_ending(&self, ending: &str) -> Result<Self, SchemaNameError> {
        format!("{}{ending}", self.0).parse()
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Location of the read model and settings of the connections.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Schema of the tables.
    pub schema: SchemaName,
    /// Maximum number of connections.
    pub pool_size: usize,
    /// Metadata keys by which files are found.
    pub metadata_keys: MetadataKeys,
}

/// A connection of the pool. Dropping it returns it to the pool.
pub type Connection = Object<AsyncPgConnection>;

/// A pool of connections whose `search_path` is one schema.
#[derive(Clone)]
pub struct Database {
    pool: Pool<AsyncPgConnection>,
    config: DatabaseConfig,
    limits: Limits,
}

/// Timeouts of a session in PostgreSQL. 0 means no timeout.
#[derive(Clone, Copy, Default)]
struct Limits {
    /// Timeout of a statement.
    statement: Duration,
    /// Timeout of a client that holds locks and is idle or unreachable.
    client: Duration,
}

/// Result of [`Database::inspect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Version of the server, such as `17.2`.
    pub version: String,
    /// Number of migrations that were not run yet.
    pub pending_migrations: usize,
}

/// Row of the table of migrations.
#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

impl Database {
    /// Creates a pool. It connects when it is first used.
    ///
    /// # Errors
    /// [`ReadModelError::Unavailable`] if the settings are invalid.
    pub fn new(config: DatabaseConfig) -> Result<Self, ReadModelError> {
        Self::with(config, Limits { statement: STATEMENT_WITHIN, client: Duration::ZERO })
    }

    /// Returns a pool for the same tables without a statement timeout, for long work such as a rebuild.
    ///
    /// # Errors
    /// The errors of [`Database::new`].
    pub fn patient(&self) -> Result<Self, ReadModelError> {
        Self::with(self.config.clone(), Limits::default())
    }

    /// Returns a pool like [`Database::patient`], for work under a lease. If the process hangs or its host fails,
    /// PostgreSQL releases its locks within `within`.
    ///
    /// # Errors
    /// The errors of [`Database::new`].
    pub fn leased(&self, within: Duration) -> Result<Self, ReadModelError> {
        Self::with(self.config.clone(), Limits { statement: Duration::ZERO, client: within })
    }

    fn with(config: DatabaseConfig, limits: Limits) -> Result<Self, ReadModelError> {
        let url = connection_url(&config, limits);
        let mut manager_config = ManagerConfig::default();
        manager_config.custom_setup = Box::new(|url| establish(url.to_owned()).boxed());
        if !limits.client.is_zero() {
            // PostgreSQL may have ended the session while it was idle.
            manager_config.recycling_method = RecyclingMethod::Verified;
        }
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, manager_config);
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            // Prefer recently used connections: they have planned their statements, and a connection that was left in a
            // transaction is found soon.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(Duration::from_secs(5)))
            .create_timeout(Some(Duration::from_secs(5)))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| unavailable("creating a pool", error))?;
        Ok(Self { pool, config, limits })
    }

    /// Returns another pool of up to `pool_size` connections for the same tables. Its connections run on the runtime
    /// that first requests them.
    ///
    /// # Errors
    /// The errors of [`Database::new`].
    pub fn apart(&self, pool_size: usize) -> Result<Self, ReadModelError> {
        Self::with(DatabaseConfig { pool_size, ..self.config.clone() }, self.limits)
    }

    /// Returns a pool for another schema of the same server.
    ///
    /// # Errors
    /// The errors of [`Database::new`].
    pub fn in_schema(&self, schema: SchemaName) -> Result<Self, ReadModelError> {
        Self::with(DatabaseConfig { schema, ..self.config.clone() }, self.limits)
    }

    /// Returns the maximum number of connections.
    pub fn pool_size(&self) -> usize {
        self.config.pool_size
    }

    /// Returns the metadata keys by which files are found.
    pub fn metadata_keys(&self) -> &MetadataKeys {
        &self.config.metadata_keys
    }

    /// Returns the schema of the tables.
    pub fn schema(&self) -> &SchemaName {
        &self.config.schema
    }

    /// Takes a connection from the pool.
    ///
    /// # Errors
    /// [`ReadModelError::Unavailable`].
    pub fn connection(&self) -> BoxFuture<'_, Result<Connection, ReadModelError>> {
        Box::pin(async move { self.pool.get().await.map_err(|error| not_connected("connecting", error)) })
    }

    /// Creates the schema if it does not exist, and runs the pending migrations. Needs no rights to create tables if
    /// there is nothing to do.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn migrate(&self) -> BoxFuture<'_, Result<(), ReadModelError>> {
        Box::pin(async move {
            if self.inspect().await?.pending_migrations == 0 {
                return Ok(());
            }
            let operation = "creating tables, which `waybill provision` does as the owner of the database";
            let mut connection = establish(connection_url(&self.config, Limits::default()))
                .await
                .map_err(|error| not_connected(operation, error))?;
            // If several processes start at the same time, one of them migrates and the others wait.
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

    /// Returns the version of PostgreSQL and the number of pending migrations.
    ///
    /// # Errors
    /// [`ReadModelError`].
    pub fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ReadModelError>> {
        Box::pin(async move {
            let operation = "reading the version and the migrations";
            let mut connection = establish(connection_url(&self.config, Limits::default()))
                .await
                .map_err(|error| not_connected(operation, error))?;
            let text = "current_setting('server_version'), to_regclass('__diesel_schema_migrations') IS NOT NULL";
            let facts = diesel::select(diesel::dsl::sql::<(Text, Bool)>(text));
            let (version, has_tables): (String, bool) =
                facts.get_result(&mut connection).await.map_err(ReadModelError::query(operation))?;
            let mut applied: Vec<Applied> = Vec::new();
            if has_tables {
                // `AsyncMigrationHarness` would create the table of migrations, for which a role has no right.
                let all = diesel::sql_query("SELECT version FROM __diesel_schema_migrations").load(&mut connection);
                applied = all.await.map_err(ReadModelError::query(operation))?;
            }
            let known =
                MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| unavailable(operation, error))?;
            let is_applied = |version: &String| applied.iter().any(|applied| applied.version == *version);
            let pending = known.iter().filter(|migration| !is_applied(&migration.name().version().to_string())).count();
            Ok(Inspection { version, pending_migrations: pending })
        })
    }

    /// Drops the schema and everything in it.
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

/// Opens a connection. With `sslmode=require` it uses TLS, and the certificate must be valid for the host (like
/// `verify-full` of libpq).
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

/// Returns the URL with the session settings of the pool's connections. `search_path` is the schema. Commits do not
/// wait for the disk: a crash of PostgreSQL loses the latest rows together with their checkpoint, and they are folded
/// again from the log.
fn connection_url(config: &DatabaseConfig, limits: Limits) -> String {
    let separator = if config.url.contains('?') { '&' } else { '?' };
    let mut settings = vec![
        ("search_path", config.schema.to_string()),
        ("synchronous_commit", "off".to_owned()),
        // Plan each statement once per connection. On tables with many partitions PostgreSQL would otherwise plan each
        // time, which takes longer than the execution. Queries whose plans depend on their values override this
        // setting.
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
        // For a request that was dropped in the middle of a transaction.
        settings.push(("idle_in_transaction_session_timeout", "60000".to_owned()));
    }
    let options: Vec<String> = settings.iter().map(|(name, value)| format!("-c{name}%3D{value}")).collect();
    format!("{}{separator}options={}", config.url, options.join("%20"))
}

/// Parts of the messages with which a server refuses a login (SQLSTATE class 28 and 3D000). diesel does not pass on the
/// SQLSTATE.
const REFUSALS: [&str; 4] =
    ["authentication failed", "no pg_hba.conf entry", "\" does not exist", "not permitted to log in"];

/// Returns the error of a failed connection: the server does not answer, or it refuses the login.
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
