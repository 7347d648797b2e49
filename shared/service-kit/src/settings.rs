//! Settings that several roles share. Each one is a command-line option and an environment variable. The help texts are
//! the source of `docs/configuration.md`. The settings of one role are in `settings.rs` of its crate.

use clap::Args;
use std::path::PathBuf;

/// Address of NATS and layout of the streams.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "NATS")]
pub struct NatsSettings {
    /// URL of NATS; for a cluster, comma-separated URLs of several servers. A user and a password go into the first
    /// URL, percent-encoded: nats://user:password@host. tls:// requires TLS
    #[arg(long, env = "WAYBILL_NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub nats_url: String,
    /// File with the credentials for NATS, as `nsc` creates it. To use a user and a password or a token instead, add
    /// them to the URL
    #[arg(long, env = "WAYBILL_NATS_CREDENTIALS_FILE")]
    pub nats_credentials_file: Option<PathBuf>,
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
}

/// Address of PostgreSQL and settings of the connections.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseSettings {
    /// URL of PostgreSQL: postgres://user:password@host:port/database. With ?sslmode=require, connections use TLS and
    /// the certificate must be valid for the host
    #[arg(long, env = "WAYBILL_DATABASE_URL", default_value = "postgres://localhost/waybill", hide_env_values = true)]
    pub database_url: String,
    /// URL of a streaming replica from which the gateway answers listings and queries. While the replica is
    /// unavailable, the gateway uses the primary
    #[arg(long, env = "WAYBILL_DATABASE_REPLICA_URL", hide_env_values = true)]
    pub database_replica_url: Option<String>,
    /// Schema of the read model
    #[arg(long, env = "WAYBILL_DATABASE_SCHEMA", default_value = "waybill")]
    pub database_schema: String,
    /// Maximum number of connections to PostgreSQL per pool
    #[arg(long, env = "WAYBILL_DATABASE_POOL_SIZE", default_value_t = 16)]
    pub database_pool_size: usize,
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
    /// Id of the access key
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
    /// Secret with which tokens are signed (HS256, at least 32 bytes), instead of published keys. For development only
    #[arg(long, env = "WAYBILL_JWT_HS256_SECRET", default_value = "", hide_env_values = true)]
    pub jwt_hs256_secret: String,
    /// Required iss claim of tokens
    #[arg(long, env = "WAYBILL_JWT_ISSUER", default_value = "waybill")]
    pub jwt_issuer: String,
    /// Required aud claim of tokens
    #[arg(long, env = "WAYBILL_JWT_AUDIENCE", default_value = "waybill")]
    pub jwt_audience: String,
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

/// Accepted media types. The gateway checks them when an upload starts, and the worker before the verification.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "File types")]
pub struct TypeSettings {
    /// Comma-separated media types that are accepted. An entry that ends in * stands for all types that begin with it.
    /// Default: all types. Types of programs, installers and scripts are accepted only if an entry is their full name
    #[arg(long, env = "WAYBILL_ALLOWED_TYPES", value_delimiter = ',')]
    pub allowed_types: Option<Vec<String>>,
}

/// Secret that gateways and workers share.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Between gateways and workers")]
pub struct WorkerSecret {
    /// Secret with which gateways authenticate to workers (at least 32 bytes)
    #[arg(long, env = "WAYBILL_WORKER_SECRET", default_value = "", hide_env_values = true)]
    pub worker_secret: String,
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
