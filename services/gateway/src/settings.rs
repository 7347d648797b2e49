//! Settings of the gateway. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use clap::Args;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use waybill_repository::DirectoryLimits;
use waybill_service_kit::proxies::ProxyHeader;
use waybill_service_kit::settings::UploadSettings;

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

impl GatewaySettings {
    /// Returns the maximum size of directories.
    pub(crate) fn directory_limits(&self) -> DirectoryLimits {
        DirectoryLimits { max_entries: self.directory_max_entries, kept_entries: self.directory_kept_entries }
    }

    /// Returns the time from the start of an upload to its expiry in milliseconds.
    pub(crate) fn upload_lifetime_ms(&self) -> i64 {
        i64::try_from(self.uploads.upload_lifetime_s.saturating_mul(1_000)).unwrap_or(i64::MAX)
    }

    /// Returns the lifetime of presigned URLs with which clients write to the object store.
    pub(crate) fn upload_url_lifetime(&self) -> Duration {
        Duration::from_secs(self.upload_url_lifetime_s)
    }
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
