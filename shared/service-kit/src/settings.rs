//! Settings of all roles. Each one is a command-line option and an environment variable. The help texts here are the
//! source of `docs/configuration.md`.

use crate::proxies::ProxyHeader;
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
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

/// Settings of the gateway.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateway")]
pub struct GatewaySettings {
    /// Address at which the gateway listens for clients
    #[arg(long, env = "WAYBILL_HTTP_ADDR", default_value = "127.0.0.1:8080")]
    pub http_addr: SocketAddr,
    /// Comma-separated URLs of the workers, http or https. A host name stands for all addresses that it resolves to
    #[arg(long, env = "WAYBILL_WORKER_URLS", value_delimiter = ',', default_value = "http://127.0.0.1:8090")]
    pub worker_urls: Vec<String>,
    /// Quota in bytes of a company whose quota no admin has set
    #[arg(long, env = "WAYBILL_DEFAULT_QUOTA_BYTES", default_value_t = 1 << 40)]
    pub default_quota_bytes: u64,
    /// Register an unknown company or user on its first request with a valid token. Set it to false if the host product
    /// manages the directory
    #[arg(
        long,
        env = "WAYBILL_AUTO_REGISTER",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub auto_register: bool,
    /// Maximum number of users, chatrooms, threads and memberships, in total, in the directory of a company
    #[arg(long, env = "WAYBILL_DIRECTORY_MAX_ENTRIES", default_value_t = 2_000_000)]
    pub directory_max_entries: usize,
    /// Number of directory entries of all companies that a gateway keeps in memory, at about 100 bytes each. While
    /// directories are in use, it keeps up to twice as many
    #[arg(long, env = "WAYBILL_DIRECTORY_KEPT_ENTRIES", default_value_t = 2_000_000)]
    pub directory_kept_entries: usize,
    /// Maximum size of a file in bytes
    #[arg(long, env = "WAYBILL_MAX_FILE_BYTES", default_value_t = 10 << 30)]
    pub max_file_bytes: u64,
    /// Uploads.
    #[command(flatten)]
    pub uploads: UploadSettings,
    /// Lifetime in seconds of a presigned URL with which a client writes to the object store. It must suffice for
    /// sending one part over a slow network, because clients do not request a new URL
    #[arg(
        long,
        env = "WAYBILL_UPLOAD_URL_LIFETIME_S",
        default_value_t = 3_600,
        value_parser = clap::value_parser!(u64).range(1..=604_800)
    )]
    pub upload_url_lifetime_s: u64,
    /// Maximum number of requests per second per user. Bursts of twice that number are allowed
    #[arg(long, env = "WAYBILL_RATE_PER_USER", default_value = "1000")]
    pub rate_per_user: NonZeroU32,
    /// Maximum number of requests per second per client address, or per /64 network for IPv6. Bursts of twice that
    /// number are allowed
    #[arg(long, env = "WAYBILL_RATE_PER_ADDRESS", default_value = "2000")]
    pub rate_per_address: NonZeroU32,
    /// Maximum number of new Idempotency-Keys of a company in 24 hours. Requests with further keys are refused. All
    /// companies share one bucket, which by default has space for about 3.5 million keys (see
    /// WAYBILL_IDEMPOTENCY_BUCKET_BYTES)
    #[arg(long, env = "WAYBILL_IDEMPOTENCY_KEYS_PER_COMPANY", default_value = "400000")]
    pub idempotency_keys_per_company: NonZeroU32,
    /// Redirect downloads with a download token without max_downloads to the object store, with a URL that is valid for
    /// one minute
    #[arg(
        long,
        env = "WAYBILL_DOWNLOAD_REDIRECTS",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub download_redirects: bool,
    /// Comma-separated networks or addresses of trusted proxies, such as 10.0.0.0/8. Waybill uses the client address
    /// that a trusted proxy reports
    #[arg(long, env = "WAYBILL_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Header in which the trusted proxies report the client address. The proxies must set it themselves, because
    /// Waybill would also trust a value that a client sends through them
    #[arg(long, env = "WAYBILL_PROXY_HEADER", value_enum, default_value_t)]
    pub proxy_header: ProxyHeader,
    /// Maximum total size in bytes of the files of a session
    #[arg(long, env = "WAYBILL_MAX_SESSION_BYTES", default_value_t = 50 << 30)]
    pub max_session_bytes: u64,
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

/// Settings of the worker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// Address at which the worker listens for gateways. Use an internal address
    #[arg(long, env = "WAYBILL_WORKER_ADDR", default_value = "127.0.0.1:8090")]
    pub worker_addr: SocketAddr,
    /// Maximum memory in MiB of all part buffers
    #[arg(long, env = "WAYBILL_WORKER_BUDGET_MIB", default_value_t = 512)]
    pub worker_budget_mib: usize,
    /// Grace period in seconds between the expiry and the cleanup of an upload. Requests that are still running are cut
    /// off by then
    #[arg(long, env = "WAYBILL_EXPIRY_GRACE_S", default_value_t = 15 * 60)]
    pub expiry_grace_s: u64,
    /// Time in seconds for which a deleted file can be restored. After that, its object is deleted and its bytes are
    /// released from the quota
    #[arg(long, env = "WAYBILL_PURGE_AFTER_S", default_value_t = 30 * 24 * 3_600)]
    pub purge_after_s: u64,
    /// Time in seconds for which the row of an expired download token is kept. Its events are kept
    #[arg(long, env = "WAYBILL_TOKENS_KEPT_S", default_value_t = 30 * 24 * 3_600)]
    pub tokens_kept_s: u64,
    /// Number of attempts after which a failing reaction to an event is parked (see `waybill parked`). The pauses
    /// between attempts grow to 30 seconds
    #[arg(long, env = "WAYBILL_PARK_AFTER_ATTEMPTS", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..))]
    pub park_after_attempts: i64,
    /// Interval in seconds at which the used bytes of a company are recalculated
    #[arg(long, env = "WAYBILL_RECALCULATE_EVERY_S", default_value_t = 24 * 3_600)]
    pub recalculate_every_s: u64,
    /// Interval in milliseconds at which the worker searches for overdue uploads, files and tokens
    #[arg(long, env = "WAYBILL_WORKER_SWEEP_MS", default_value_t = 60_000)]
    pub worker_sweep_ms: u64,
}

/// Settings of the projector.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Projector")]
pub struct ProjectorSettings {
    /// Address of health checks and metrics if the projector runs as a separate process
    #[arg(long, env = "WAYBILL_PROJECTOR_ADDR", default_value = "127.0.0.1:8091")]
    pub projector_addr: SocketAddr,
    /// Time in milliseconds after which other projectors take over the partitions of a projector that no longer answers
    #[arg(long, env = "WAYBILL_PROJECTOR_LEASE_MS", default_value_t = 10_000)]
    pub projector_lease_ms: u64,
}

/// Settings of the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Fan-out")]
pub struct FanoutSettings {
    /// Address at which the fan-out listens for clients if it runs as a separate process
    #[arg(long, env = "WAYBILL_FANOUT_ADDR", default_value = "127.0.0.1:8092")]
    pub fanout_addr: SocketAddr,
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

/// Parses a network or a single address.
fn network(text: &str) -> Result<IpNet, ipnet::AddrParseError> {
    text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse())
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn a_proxy_may_be_an_address_or_a_network() {
        let parsed = |text: &str| network(text).map(|network| network.to_string()).ok();
        assert_eq!(parsed("127.0.0.1").as_deref(), Some("127.0.0.1/32"));
        assert_eq!(parsed("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        assert_eq!(parsed("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(parsed("proxy.example"), None);
    }
}
