//! Settings: each is an option and an environment variable. Plain values, separate from the clients made of them.

use crate::proxies::ProxyHeader;
use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Where NATS is, and how its streams are cut.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "NATS")]
pub struct NatsSettings {
    /// Where NATS is; of a cluster several URLs, comma-separated. User and password, percent-encoded, stand in
    /// the first of them: nats://user:password@host
    #[arg(long, env = "WAYBILL_NATS_URL", default_value = "nats://127.0.0.1:4222", hide_env_values = true)]
    pub nats_url: String,
    /// The credentials that NATS knows us by: a file as `nsc` makes it. A user and a password, or a token, go into the
    /// URL; tls:// demands TLS
    #[arg(long, env = "WAYBILL_NATS_CREDENTIALS_FILE")]
    pub nats_credentials_file: Option<PathBuf>,
    /// How many partitions the streams have; fixed once they are made
    #[arg(long, env = "WAYBILL_PARTITIONS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// How many replicas the streams are made with: 1 for one server, 3 for a cluster
    #[arg(long, env = "WAYBILL_NATS_REPLICAS", default_value_t = 1)]
    pub nats_replicas: usize,
    /// Bytes of the bucket that keeps the Idempotency-Keys of all companies for 24 hours, about 300 for a key. `waybill
    /// provision` makes it so large, and never smaller than it is
    #[arg(
        long,
        env = "WAYBILL_IDEMPOTENCY_BUCKET_BYTES",
        default_value_t = 1 << 30,
        value_parser = clap::value_parser!(u64).range(65_536..=1 << 50)
    )]
    pub idempotency_bucket_bytes: u64,
}

/// Where Postgres is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseSettings {
    /// Where Postgres is: postgres://user:password@host:port/database; with ?sslmode=require over TLS, whose certificate
    /// must be good for the host
    #[arg(long, env = "WAYBILL_DATABASE_URL", default_value = "postgres://localhost/waybill", hide_env_values = true)]
    pub database_url: String,
    /// A streaming replica that the gateway answers lists and queries from; while it is away, from the primary
    #[arg(long, env = "WAYBILL_DATABASE_REPLICA_URL", hide_env_values = true)]
    pub database_replica_url: Option<String>,
    /// The schema that the read models are in
    #[arg(long, env = "WAYBILL_DATABASE_SCHEMA", default_value = "waybill")]
    pub database_schema: String,
    /// How many connections to Postgres at most
    #[arg(long, env = "WAYBILL_DATABASE_POOL_SIZE", default_value_t = 16)]
    pub database_pool_size: usize,
}

/// Where the object store is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Object store")]
pub struct S3Settings {
    /// Where the store is; without it, Amazon's own of the region
    #[arg(long, env = "WAYBILL_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,
    /// Where clients reach the store with presigned URLs, if that is another address
    #[arg(long, env = "WAYBILL_S3_PUBLIC_ENDPOINT")]
    pub s3_public_endpoint: Option<String>,
    /// The store's region
    #[arg(long, env = "WAYBILL_S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
    /// The bucket for all objects
    #[arg(long, env = "WAYBILL_S3_BUCKET", default_value = "waybill")]
    pub s3_bucket: String,
    /// The access key's id
    #[arg(long, env = "WAYBILL_S3_ACCESS_KEY_ID", default_value = "", hide_env_values = true)]
    pub s3_access_key_id: String,
    /// The access key's secret
    #[arg(long, env = "WAYBILL_S3_SECRET_ACCESS_KEY", default_value = "", hide_env_values = true)]
    pub s3_secret_access_key: String,
    /// How the store is to encrypt each object: as the bucket says, with its own keys (SSE-S3), or with those of a key
    /// service (SSE-KMS)
    #[arg(long, env = "WAYBILL_S3_ENCRYPTION", default_value = "none")]
    pub s3_encryption: EncryptionSetting,
    /// The key service's key; without it, the store's default one
    #[arg(long, env = "WAYBILL_S3_KMS_KEY_ID")]
    pub s3_kms_key_id: Option<String>,
}

/// How the store is to encrypt what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EncryptionSetting {
    /// As the bucket says.
    None,
    /// SSE-S3.
    S3,
    /// SSE-KMS.
    Kms,
}

/// Who may ask.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens")]
pub struct AuthSettings {
    /// Where the identity provider publishes the keys of its tokens (JWKS; RS256, ES256, EdDSA)
    #[arg(long, env = "WAYBILL_JWKS_URL")]
    pub jwks_url: Option<String>,
    /// For development, in place of published keys: the secret that tokens are signed with (HS256, at least 32 bytes)
    #[arg(long, env = "WAYBILL_JWT_HS256_SECRET", default_value = "", hide_env_values = true)]
    pub jwt_hs256_secret: String,
    /// The tokens' iss claim
    #[arg(long, env = "WAYBILL_JWT_ISSUER", default_value = "waybill")]
    pub jwt_issuer: String,
    /// The tokens' aud claim
    #[arg(long, env = "WAYBILL_JWT_AUDIENCE", default_value = "waybill")]
    pub jwt_audience: String,
}

/// What listeners show.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// The certificate chain (PEM) of this process's listener; read again when it changes. Without it, HTTP in the clear
    #[arg(long, env = "WAYBILL_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, env = "WAYBILL_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,
}

/// Uploads. The bucket must keep their parts for as long.
#[derive(Args, Clone, Debug)]
pub struct UploadSettings {
    /// How long an upload may take from its start, in seconds
    #[arg(long, env = "WAYBILL_UPLOAD_LIFETIME_S", default_value_t = 7 * 24 * 3_600)]
    pub upload_lifetime_s: u64,
}

/// The gateway.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateway")]
pub struct GatewaySettings {
    /// Where clients are listened to
    #[arg(long, env = "WAYBILL_HTTP_ADDR", default_value = "127.0.0.1:8080")]
    pub http_addr: SocketAddr,
    /// Where the workers are, comma-separated, http or https; a name stands for all addresses that it resolves to
    #[arg(long, env = "WAYBILL_WORKER_URLS", value_delimiter = ',', default_value = "http://127.0.0.1:8090")]
    pub worker_urls: Vec<String>,
    /// Bytes that a company may store until an admin says otherwise
    #[arg(long, env = "WAYBILL_DEFAULT_QUOTA_BYTES", default_value_t = 1 << 40)]
    pub default_quota_bytes: u64,
    /// Whether a valid token of an unknown company or user registers it; false where the host product keeps the
    /// directory
    #[arg(
        long,
        env = "WAYBILL_AUTO_REGISTER",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub auto_register: bool,
    /// How many users, chatrooms, threads and memberships a company's directory may have
    #[arg(long, env = "WAYBILL_DIRECTORY_MAX_ENTRIES", default_value_t = 2_000_000)]
    pub directory_max_entries: usize,
    /// How many of those a gateway keeps in memory, of all companies together, at about 100 bytes each; up to twice as
    /// many while directories are in use
    #[arg(long, env = "WAYBILL_DIRECTORY_KEPT_ENTRIES", default_value_t = 2_000_000)]
    pub directory_kept_entries: usize,
    /// Bytes of one file at most
    #[arg(long, env = "WAYBILL_MAX_FILE_BYTES", default_value_t = 10 << 30)]
    pub max_file_bytes: u64,
    /// Uploads.
    #[command(flatten)]
    pub uploads: UploadSettings,
    /// How long a URL is good by which a client writes to the store by itself, in seconds: as long as a part may take on
    /// a bad network, for clients do not ask again
    #[arg(
        long,
        env = "WAYBILL_UPLOAD_URL_LIFETIME_S",
        default_value_t = 3_600,
        value_parser = clap::value_parser!(u64).range(1..=604_800)
    )]
    pub upload_url_lifetime_s: u64,
    /// Requests per second of one user at most; twice as many at once
    #[arg(long, env = "WAYBILL_RATE_PER_USER", default_value = "1000")]
    pub rate_per_user: NonZeroU32,
    /// Requests per second from one address at most, of an IPv6 network of 64 bits; twice as many at once
    #[arg(long, env = "WAYBILL_RATE_PER_ADDRESS", default_value = "2000")]
    pub rate_per_address: NonZeroU32,
    /// How many new Idempotency-Keys a company may bring in 24 hours; more are refused. All companies share a bucket with
    /// room for about 3.5 million (see WAYBILL_IDEMPOTENCY_BUCKET_BYTES)
    #[arg(long, env = "WAYBILL_IDEMPOTENCY_KEYS_PER_COMPANY", default_value = "400000")]
    pub idempotency_keys_per_company: NonZeroU32,
    /// Whether a download by a token without max_downloads is sent on to the store, by a URL that is good for a minute
    #[arg(
        long,
        env = "WAYBILL_DOWNLOAD_REDIRECTS",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub download_redirects: bool,
    /// Networks or addresses of the proxies in front, comma-separated, such as 10.0.0.0/8: whom they name as their client is
    /// believed
    #[arg(long, env = "WAYBILL_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which these proxies name their client. They must write it themselves: what a client says there is
    /// believed, too
    #[arg(long, env = "WAYBILL_PROXY_HEADER", value_enum, default_value_t)]
    pub proxy_header: ProxyHeader,
    /// Bytes of all files of one session at most
    #[arg(long, env = "WAYBILL_MAX_SESSION_BYTES", default_value_t = 50 << 30)]
    pub max_session_bytes: u64,
}

/// Connections of clients with the gateway and the fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionSettings {
    /// How long a connection is kept without a request, in seconds: longer than a load balancer in front keeps it, or
    /// requests meet connections that are being closed. 60 is usual there; Google Cloud's needs 620
    #[arg(
        long,
        env = "WAYBILL_KEEP_ALIVE_S",
        default_value_t = 75,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    pub keep_alive_s: u64,
}

/// Which files are accepted: checked by the gateway when an upload starts, by the worker before it is verified.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "File types")]
pub struct TypeSettings {
    /// MIME types that are accepted, comma-separated; an entry that ends in * stands for all that begin so. Without
    /// it a list of what people send each other
    #[arg(long, env = "WAYBILL_ALLOWED_TYPES", value_delimiter = ',')]
    pub allowed_types: Option<Vec<String>>,
}

/// What gateways and workers share.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Between gateways and workers")]
pub struct WorkerSecret {
    /// The secret that workers know gateways by (at least 32 bytes)
    #[arg(long, env = "WAYBILL_WORKER_SECRET", default_value = "", hide_env_values = true)]
    pub worker_secret: String,
}

/// The worker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Worker")]
pub struct WorkerSettings {
    /// Where gateways are listened to; an internal address
    #[arg(long, env = "WAYBILL_WORKER_ADDR", default_value = "127.0.0.1:8090")]
    pub worker_addr: SocketAddr,
    /// MiB that part buffers may take together
    #[arg(long, env = "WAYBILL_WORKER_BUDGET_MIB", default_value_t = 512)]
    pub worker_budget_mib: usize,
    /// How much later than its end an upload that was not continued is cleaned up, in seconds: requests that run are cut
    /// by then
    #[arg(long, env = "WAYBILL_EXPIRY_GRACE_S", default_value_t = 15 * 60)]
    pub expiry_grace_s: u64,
    /// How long a deleted file can be restored, in seconds; then its object is deleted and its space given back
    #[arg(long, env = "WAYBILL_PURGE_AFTER_S", default_value_t = 30 * 24 * 3_600)]
    pub purge_after_s: u64,
    /// How long the row of a download token that has ended is kept, in seconds; its events stay
    #[arg(long, env = "WAYBILL_TOKENS_KEPT_S", default_value_t = 30 * 24 * 3_600)]
    pub tokens_kept_s: u64,
    /// How often a reaction to an event is tried before it is put aside (see `waybill parked`); pauses between attempts grow
    /// to 30 seconds
    #[arg(long, env = "WAYBILL_PARK_AFTER_ATTEMPTS", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..))]
    pub park_after_attempts: i64,
    /// How often a company's space is counted anew, in seconds
    #[arg(long, env = "WAYBILL_RECALCULATE_EVERY_S", default_value_t = 24 * 3_600)]
    pub recalculate_every_s: u64,
    /// How often the worker looks for uploads that ended without a word, in milliseconds
    #[arg(long, env = "WAYBILL_WORKER_SWEEP_MS", default_value_t = 60_000)]
    pub worker_sweep_ms: u64,
}

/// The projector.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Projector")]
pub struct ProjectorSettings {
    /// Where health and metrics are served when the projector runs alone
    #[arg(long, env = "WAYBILL_PROJECTOR_ADDR", default_value = "127.0.0.1:8091")]
    pub projector_addr: SocketAddr,
    /// How long a partition stays with a projector that does not answer any more
    #[arg(long, env = "WAYBILL_PROJECTOR_LEASE_MS", default_value_t = 10_000)]
    pub projector_lease_ms: u64,
}

/// The fan-out.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Fan-out")]
pub struct FanoutSettings {
    /// Where clients are listened to when the fan-out runs alone
    #[arg(long, env = "WAYBILL_FANOUT_ADDR", default_value = "127.0.0.1:8092")]
    pub fanout_addr: SocketAddr,
}

/// Browsers: the gateway tells them whose pages may ask (CORS), the fan-out takes WebSockets of those alone.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Browsers")]
pub struct BrowserSettings {
    /// Origins of pages that may use Waybill, comma-separated; none means that no page of another origin may
    #[arg(long, env = "WAYBILL_ALLOWED_ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
}

/// Logs.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// What is logged, in the syntax of `RUST_LOG`; without it info of the roles, warnings of the other commands
    #[arg(long, env = "WAYBILL_LOG", global = true, help_heading = "Logs")]
    pub log: Option<String>,
    /// How: text or json
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

/// A network, or an address alone.
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
