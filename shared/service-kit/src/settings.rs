//! Settings that several roles share. Each one is a command-line option and an environment variable. The help texts are
//! the source of `docs/configuration.md`. The settings of one role are in `settings.rs` of its crate.

use crate::{SecretError, Secrets, secrets};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use waybill_schema::{ScanPolicy, UnscannedPolicy};

/// Address of NATS and layout of the streams.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "NATS")]
pub struct NatsSettings {
    /// URL of NATS; for a cluster, comma-separated URLs of several servers. tls:// requires TLS. A token, or a user and
    /// a password, can be in the first URL, percent-encoded: nats://user:password@host
    #[arg(long, env = "WAYBILL_NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub nats_url: String,
    /// User of NATS. nats/users.conf has a user for each role. It takes precedence over a login in the URL
    #[arg(long, env = "WAYBILL_NATS_USER")]
    pub nats_user: Option<String>,
    /// Password of this user
    #[arg(long, env = "WAYBILL_NATS_PASSWORD", default_value = "", hide_env_values = true)]
    pub nats_password: String,
    /// File with this password
    #[arg(long, env = "WAYBILL_NATS_PASSWORD_FILE")]
    pub nats_password_file: Option<PathBuf>,
    /// File with the credentials for NATS, as `nsc` creates it, instead of a user and a password
    #[arg(long, env = "WAYBILL_NATS_CREDENTIALS_FILE")]
    pub nats_credentials_file: Option<PathBuf>,
    /// Prefix of the subjects at which NATS answers requests. Users with different prefixes cannot read each other's
    /// answers. Default: _INBOX_ and the value of WAYBILL_NATS_USER; _INBOX without a user
    #[arg(long, env = "WAYBILL_NATS_INBOX_PREFIX")]
    pub nats_inbox_prefix: Option<String>,
    /// Number of partitions of the log. It cannot be changed after the streams were created
    #[arg(long, env = "WAYBILL_PARTITIONS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Number of replicas of new streams: 1 for a single server, 3 for a cluster
    #[arg(long, env = "WAYBILL_NATS_REPLICAS", default_value_t = 1)]
    pub nats_replicas: usize,
    /// Size in bytes of the bucket that keeps the Idempotency-Keys of all companies for 24 hours. A key takes about 300
    /// bytes. `waybill provision` creates or enlarges the bucket, and never shrinks it
    #[arg(
        long,
        env = "WAYBILL_IDEMPOTENCY_BUCKET_BYTES",
        default_value_t = 1 << 30,
        value_parser = clap::value_parser!(u64).range(65_536..=1 << 50)
    )]
    pub idempotency_bucket_bytes: u64,
    /// Size in bytes of the records of refused requests, and again of the records of reads, of all partitions together.
    /// A partition has at least 64 MiB. `waybill provision` creates or enlarges the streams, and never shrinks them. If
    /// they are full, the oldest records are removed
    #[arg(
        long,
        env = "WAYBILL_AUDIT_RECORD_BYTES",
        default_value_t = 1 << 30,
        value_parser = clap::value_parser!(u64).range(65_536..=1 << 50)
    )]
    pub audit_record_bytes: u64,
}

impl NatsSettings {
    /// Returns the user and the password, or `None` if no user is set.
    ///
    /// # Errors
    /// [`SecretError`] if there is no password, if it has two sources, or if its file cannot be read.
    pub fn login(&self) -> Result<Option<(String, String)>, SecretError> {
        // An empty variable counts as missing.
        let Some(user) = self.nats_user.as_deref().filter(|user| !user.is_empty()) else { return Ok(None) };
        let file = self.nats_password_file.as_deref();
        let password = secrets::read_text("WAYBILL_NATS_PASSWORD", &self.nats_password, file)?;
        match password.trim() {
            "" => Err(SecretError::NoPassword("WAYBILL_NATS_PASSWORD")),
            password => Ok(Some((user.to_owned(), password.to_owned()))),
        }
    }

    /// Returns the prefix of the subjects at which NATS answers requests.
    pub fn inbox_prefix(&self) -> String {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let of_user = || given(&self.nats_user).map(|user| format!("_INBOX_{user}"));
        given(&self.nats_inbox_prefix).or_else(of_user).unwrap_or_else(|| "_INBOX".to_owned())
    }
}

/// Address of PostgreSQL and settings of the connections.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseSettings {
    /// URL of PostgreSQL: postgres://user:password@host:port/database. With ?sslmode=require, connections use TLS and
    /// the certificate must be valid for the host
    #[arg(long, env = "WAYBILL_DATABASE_URL", default_value = "postgres://localhost/waybill", hide_env_values = true)]
    pub database_url: String,
    /// URL of a streaming replica from which the gateway answers listings and queries. While the replica does not answer
    /// or lags behind (WAYBILL_REPLICA_MAX_LAG_S), the gateway uses the primary
    #[arg(long, env = "WAYBILL_DATABASE_REPLICA_URL", hide_env_values = true)]
    pub database_replica_url: Option<String>,
    /// Schema of the read model
    #[arg(long, env = "WAYBILL_DATABASE_SCHEMA", default_value = "waybill")]
    pub database_schema: String,
    /// Maximum number of connections to PostgreSQL per pool
    #[arg(long, env = "WAYBILL_DATABASE_POOL_SIZE", default_value_t = 16)]
    pub database_pool_size: usize,
    /// Metadata keys by which files are found, separated by commas. Set the same value for all processes. After a change, run
    /// `waybill replay --swap`, so that older files are found by the new keys
    #[arg(long, env = "WAYBILL_METADATA_KEYS", value_name = "KEYS")]
    pub metadata_keys: Option<String>,
}

/// Address of Redis.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Redis")]
pub struct RedisSettings {
    /// URL of Redis 6 or Valkey, in which gateways keep what they read from PostgreSQL: redis://user:password@host:port, or
    /// rediss:// for TLS. Without it, each gateway keeps its own. Entries are encrypted with keys from
    /// WAYBILL_CURSOR_SECRET
    #[arg(long, env = "WAYBILL_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
}

/// Users of PostgreSQL that can use the tables, but not create, change or drop them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseUserSettings {
    /// User of PostgreSQL for gateways, workers and fan-outs: reads the tables. Lower-case letters, digits and underscores
    #[arg(long, env = "WAYBILL_DATABASE_READER")]
    pub database_reader: Option<String>,
    /// Password to set for this user, which is created if it does not exist. Needs a user with the right CREATEROLE
    #[arg(long, env = "WAYBILL_DATABASE_READER_PASSWORD", hide_env_values = true)]
    pub database_reader_password: Option<String>,
    /// User of PostgreSQL for projectors and `serve all`: reads and writes the tables
    #[arg(long, env = "WAYBILL_DATABASE_WRITER")]
    pub database_writer: Option<String>,
    /// Password to set for this user, which is created if it does not exist. Needs a user with the right CREATEROLE
    #[arg(long, env = "WAYBILL_DATABASE_WRITER_PASSWORD", hide_env_values = true)]
    pub database_writer_password: Option<String>,
}

/// Address, credentials and encryption of the object store.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Object store")]
pub struct S3Settings {
    /// URL of the object store. Default: the endpoint of Amazon S3 in the region
    #[arg(long, env = "WAYBILL_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// URL at which clients reach the object store with presigned URLs, if it differs from the endpoint
    #[arg(long, env = "WAYBILL_S3_PUBLIC_ENDPOINT")]
    pub s3_public_endpoint: Option<String>,
    /// Region of the object store
    #[arg(long, env = "WAYBILL_S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
    /// Bucket for all objects
    #[arg(long, env = "WAYBILL_S3_BUCKET", default_value = "waybill")]
    pub s3_bucket: String,
    /// Id of the access key. If neither it nor the secret is set, the credentials come from the sources of AWS's SDKs:
    /// environment, files of `aws configure`, service account, container or instance
    #[arg(long, env = "WAYBILL_S3_ACCESS_KEY_ID", default_value = "", hide_env_values = true)]
    pub s3_access_key_id: String,
    /// Secret of the access key
    #[arg(long, env = "WAYBILL_S3_SECRET_ACCESS_KEY", default_value = "", hide_env_values = true)]
    pub s3_secret_access_key: String,
    /// Server-side encryption of new objects: the default of the bucket (none), keys of the store (s3, SSE-S3), or a
    /// key of a key management service (kms, SSE-KMS)
    #[arg(long, env = "WAYBILL_S3_ENCRYPTION", default_value = "none")]
    pub s3_encryption: EncryptionSetting,
    /// Id of the key for SSE-KMS. Default: the default key of the store
    #[arg(long, env = "WAYBILL_S3_KMS_KEY_ID")]
    pub s3_kms_key_id: Option<String>,
    /// Bucket for archived files. Without it, no file is archived. Set the same value for all roles, and keep it as long as the
    /// bucket has objects
    #[arg(long, env = "WAYBILL_S3_COLD_BUCKET")]
    pub s3_cold_bucket: Option<String>,
    /// URL of the object store with the bucket for archived files. Default: that of the other bucket, with its region and
    /// access key
    #[arg(long, env = "WAYBILL_S3_COLD_ENDPOINT", requires = "s3_cold_bucket")]
    pub s3_cold_endpoint: Option<String>,
    /// Region of the bucket for archived files. Default: that of the other bucket
    #[arg(long, env = "WAYBILL_S3_COLD_REGION", requires = "s3_cold_bucket")]
    pub s3_cold_region: Option<String>,
    /// Id of the access key for the bucket of archived files. Default: the credentials for the other bucket
    #[arg(long, env = "WAYBILL_S3_COLD_ACCESS_KEY_ID", requires = "s3_cold_secret_access_key", hide_env_values = true)]
    pub s3_cold_access_key_id: Option<String>,
    /// Secret of this access key
    #[arg(long, env = "WAYBILL_S3_COLD_SECRET_ACCESS_KEY", requires = "s3_cold_access_key_id", hide_env_values = true)]
    pub s3_cold_secret_access_key: Option<String>,
    /// Storage class of archived files, such as STANDARD_IA. With GLACIER or DEEP_ARCHIVE, a file must be restored before it can
    /// be read. Default: the class of the bucket
    #[arg(long, env = "WAYBILL_S3_COLD_STORAGE_CLASS", requires = "s3_cold_bucket")]
    pub s3_cold_storage_class: Option<String>,
}

/// Server-side encryption of new objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EncryptionSetting {
    /// The default of the bucket.
    None,
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms,
}

/// Verification of the tokens of clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct AuthSettings {
    /// URL at which the identity provider publishes the keys of its tokens (JWKS; RS256, ES256 or EdDSA)
    #[arg(long, env = "WAYBILL_JWKS_URL")]
    pub jwks_url: Option<String>,
    /// Comma-separated secrets with which tokens are signed (HS256, each at least 32 bytes), instead of published keys. For
    /// development only
    #[arg(long, env = "WAYBILL_JWT_HS256_SECRET", default_value = "", hide_env_values = true)]
    pub jwt_hs256_secret: String,
    /// File with a JSON list of issuers, instead of the other settings of tokens. See the page about identity providers
    #[arg(long, env = "WAYBILL_ISSUERS_FILE")]
    pub issuers_file: Option<PathBuf>,
    /// Required iss claim of tokens
    #[arg(long, env = "WAYBILL_JWT_ISSUER", default_value = "waybill")]
    pub jwt_issuer: String,
    /// Required aud claim of tokens
    #[arg(long, env = "WAYBILL_JWT_AUDIENCE", default_value = "waybill")]
    pub jwt_audience: String,
    /// Comma-separated roles that tokens may assert: admin, auditor, service. Default: all with the secret for
    /// development, and admin and auditor with published keys, because the host product needs an issuer of its own
    #[arg(long, env = "WAYBILL_JWT_ROLES", value_delimiter = ',', value_parser = ["admin", "auditor", "service"])]
    pub jwt_roles: Option<Vec<String>>,
    /// Comma-separated values of the header typ that tokens must have, such as at+jwt. Default: access tokens (RFC 9068)
    /// and tokens without a specific type
    #[arg(long, env = "WAYBILL_JWT_TYPES", value_delimiter = ',')]
    pub jwt_types: Vec<String>,
    /// Comma-separated clients (azp or client_id) whose tokens are accepted. Default: all
    #[arg(long, env = "WAYBILL_JWT_CLIENTS", value_delimiter = ',')]
    pub jwt_clients: Vec<String>,
    /// Maximum age of tokens in seconds, by their claim iat. Default: only exp counts
    #[arg(long, env = "WAYBILL_JWT_MAX_AGE_S")]
    pub jwt_max_age_s: Option<u32>,
    /// Register an unknown company or user on its first request with a valid token. If it is false, the host product
    /// registers them, and requests of others are refused. Default: true without published keys, false with them
    #[arg(long, env = "WAYBILL_AUTO_REGISTER")]
    pub auto_register: Option<bool>,
}

impl AuthSettings {
    /// Returns the URL of the published keys. An empty variable counts as missing.
    pub fn published_keys(&self) -> Option<&str> {
        self.jwks_url.as_deref().filter(|url| !url.is_empty())
    }

    /// Returns `true` if a valid token registers its company and user. The claims of tokens of an identity provider can
    /// be less trustworthy than the directory of the host product.
    pub fn registers_automatically(&self) -> bool {
        self.auto_register.unwrap_or(self.published_keys().is_none() && self.issuers_file.is_none())
    }
}

/// Certificate of the listeners.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// File with the certificate chain (PEM) of the listener. It is read again when it changes. Without it, the
    /// listener accepts plain HTTP
    #[arg(long, env = "WAYBILL_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// File with the private key (PEM) of the certificate
    #[arg(long, env = "WAYBILL_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
}

/// Lifetime of uploads. The bucket must keep their parts for at least as long.
#[derive(Args, Clone, Debug)]
pub struct UploadSettings {
    /// Time in seconds from the start of an upload to its expiry
    #[arg(long, env = "WAYBILL_UPLOAD_LIFETIME_S", default_value_t = 7 * 24 * 3_600)]
    pub upload_lifetime_s: u64,
}

/// Connections of clients to the gateway and the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionSettings {
    /// Time in seconds after which an idle connection is closed. It must be longer than the idle timeout of a load
    /// balancer in front of Waybill; otherwise the load balancer sends requests on connections that are being closed.
    /// Most load balancers use 60, and the one of Google Cloud needs 620
    #[arg(
        long,
        env = "WAYBILL_KEEP_ALIVE_S",
        default_value_t = 75,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub keep_alive_s: u64,
}

/// Listener for operators.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Operations")]
pub struct OpsSettings {
    /// Address for operators, with /healthz, /readyz and /metrics over plain HTTP. Use an internal address. If it is
    /// set, the other listeners of the process do not serve /readyz and /metrics. Default: the other listeners serve
    /// them
    #[arg(long, env = "WAYBILL_OPS_ADDR")]
    pub ops_addr: Option<SocketAddr>,
}

/// Accepted media types. The gateway checks them when an upload starts, and the worker before the verification.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "File types")]
pub struct TypeSettings {
    /// Comma-separated media types that are accepted. An entry that ends in * stands for all types that begin with it.
    /// Default: all types. Types of programs, installers and scripts are accepted only if an entry is their full name
    #[arg(long, env = "WAYBILL_ALLOWED_TYPES", value_delimiter = ',')]
    pub allowed_types: Option<Vec<String>>,
}

/// Virus scans, which the role content makes. All roles that let users read files need the same values.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Virus scans")]
pub struct ScanSettings {
    /// Least strict policy of all companies: off, inform (files can be read before they are scanned) or require (they
    /// cannot). It needs WAYBILL_CLAMD, otherwise required files can never be read
    #[arg(long, env = "WAYBILL_SCAN", default_value = "off")]
    pub scan: ScanPolicy,
    /// Files that could not be scanned completely, if the policy is require: block or label. The limits of a company can
    /// replace it
    #[arg(long, env = "WAYBILL_UNSCANNED", default_value = "block")]
    pub unscanned: UnscannedPolicy,
}

/// Secrets that gateways and workers share.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Between gateways and workers")]
pub struct WorkerSecrets {
    /// Comma-separated secrets with which gateways sign their requests to workers, each at least 32 bytes. The first one
    /// signs, and workers accept all of them
    #[arg(long, env = "WAYBILL_WORKER_SECRET", default_value = "", hide_env_values = true)]
    pub worker_secret: String,
    /// File with these secrets, one per line
    #[arg(long, env = "WAYBILL_WORKER_SECRET_FILE")]
    pub worker_secret_file: Option<PathBuf>,
}

impl WorkerSecrets {
    /// Reads the secrets.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self) -> Result<Secrets, SecretError> {
        Secrets::read("WAYBILL_WORKER_SECRET", &self.worker_secret, self.worker_secret_file.as_deref())
    }
}

/// Web pages of other origins. The gateway allows these origins with CORS, and the fan-out accepts WebSockets only from
/// them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Browsers")]
pub struct BrowserSettings {
    /// Comma-separated origins of web pages that may use Waybill. By default, only pages of Waybill's own origin may
    #[arg(long, env = "WAYBILL_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
}

/// Encryption of connections between machines.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connections")]
pub struct NetworkSettings {
    /// Connect to NATS, PostgreSQL, the object store and workers on other machines without TLS. Set it to true only if
    /// nobody else can read or change what is sent on the network between them
    #[arg(long, env = "WAYBILL_ALLOW_CLEARTEXT", default_value_t = false, action = clap::ArgAction::Set)]
    pub allow_cleartext: bool,
}

/// Settings of the log output.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Filter of log messages in the syntax of `RUST_LOG`. Default: info for the roles, warn for the other commands
    #[arg(long, env = "WAYBILL_LOG", global = true, help_heading = "Logs")]
    pub log: Option<String>,
    /// Format of log messages: text or json
    #[arg(
        long,
        env = "WAYBILL_LOG_FORMAT",
        default_value = "text",
        value_parser = ["text", "json"],
        global = true,
        help_heading = "Logs"
    )]
    pub log_format: String,
}

#[cfg(test)]
mod tests {
    use super::{AuthSettings, NatsSettings};
    use crate::SecretError;

    #[test]
    fn a_user_of_nats_needs_a_password_and_has_an_inbox_of_its_own() {
        let with = |user: &str, password: &str, prefix: &str| NatsSettings {
            nats_url: String::new(),
            nats_user: Some(user.to_owned()),
            nats_password: password.to_owned(),
            nats_password_file: None,
            nats_credentials_file: None,
            nats_inbox_prefix: Some(prefix.to_owned()),
            partitions: 1,
            nats_replicas: 1,
            idempotency_bucket_bytes: 1 << 30,
            audit_record_bytes: 1 << 30,
        };
        let none = with("", "", "");
        assert!(none.login().is_ok_and(|login| login.is_none()));
        assert_eq!(none.inbox_prefix(), "_INBOX");
        let fanout = with("fanout", "secret", "");
        assert_eq!(fanout.login().ok().flatten(), Some(("fanout".to_owned(), "secret".to_owned())));
        assert_eq!(fanout.inbox_prefix(), "_INBOX_fanout");
        assert_eq!(with("fanout", "secret", "_MINE").inbox_prefix(), "_MINE");
        assert!(matches!(with("fanout", " ", "").login(), Err(SecretError::NoPassword(_))));
    }

    #[test]
    fn tokens_register_users_by_default_only_without_published_keys() {
        let with = |jwks_url: Option<&str>, auto_register| {
            let settings = AuthSettings {
                jwks_url: jwks_url.map(str::to_owned),
                jwt_hs256_secret: String::new(),
                jwt_issuer: String::new(),
                jwt_audience: String::new(),
                issuers_file: None,
                jwt_roles: None,
                jwt_types: Vec::new(),
                jwt_clients: Vec::new(),
                jwt_max_age_s: None,
                auto_register,
            };
            settings.registers_automatically()
        };
        // An empty variable counts as missing.
        assert!(with(None, None) && with(Some(""), None) && !with(Some("https://keys.example"), None));
        assert!(with(Some("https://keys.example"), Some(true)) && !with(None, Some(false)));
    }
}
