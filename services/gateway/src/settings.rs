//! Settings of the gateway. Each one is a command-line option and an environment variable; the help texts are the source of
//! `docs/configuration.md`.

use crate::application::key_budget::KeyShares;
use crate::http::event_budget::EventRates;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use waybill_audit::reads::Mode;
use waybill_domain::limits::OpenLimits;
use waybill_repository::DirectoryLimits;
use waybill_service_kit::settings::UploadSettings;
use waybill_service_kit::{SecretError, Secrets};

/// Secrets of the gateways. All gateways need the same ones. In each list, the first one is used for new keys and
/// signatures, and all are accepted.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Secrets of gateways")]
pub struct GatewaySecrets {
    /// Comma-separated secrets from which the keys are derived that sign heads of the audit, each at least 32 bytes
    #[arg(long, env = "WAYBILL_AUDIT_SECRET", default_value = "", hide_env_values = true)]
    pub audit_secret: String,
    /// File with these secrets, one per line
    #[arg(long, env = "WAYBILL_AUDIT_SECRET_FILE")]
    pub audit_secret_file: Option<PathBuf>,
    /// Comma-separated secrets from which the keys are derived that encrypt cursors of lists, each at least 32 bytes
    #[arg(long, env = "WAYBILL_CURSOR_SECRET", default_value = "", hide_env_values = true)]
    pub cursor_secret: String,
    /// File with these secrets, one per line
    #[arg(long, env = "WAYBILL_CURSOR_SECRET_FILE")]
    pub cursor_secret_file: Option<PathBuf>,
    /// Comma-separated secrets from which the keys of media URLs are derived, and download tokens whose request has an
    /// Idempotency-Key, each at least 32 bytes
    #[arg(long, env = "WAYBILL_TOKEN_SECRET", default_value = "", hide_env_values = true)]
    pub token_secret: String,
    /// File with these secrets, one per line
    #[arg(long, env = "WAYBILL_TOKEN_SECRET_FILE")]
    pub token_secret_file: Option<PathBuf>,
}

impl GatewaySecrets {
    /// Reads the secrets of audit heads.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn audit(&self) -> Result<Secrets, SecretError> {
        Secrets::read("WAYBILL_AUDIT_SECRET", &self.audit_secret, self.audit_secret_file.as_deref())
    }

    /// Reads the secrets of cursors.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn cursors(&self) -> Result<Secrets, SecretError> {
        Secrets::read("WAYBILL_CURSOR_SECRET", &self.cursor_secret, self.cursor_secret_file.as_deref())
    }

    /// Reads the secrets of download tokens.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn tokens(&self) -> Result<Secrets, SecretError> {
        Secrets::read("WAYBILL_TOKEN_SECRET", &self.token_secret, self.token_secret_file.as_deref())
    }
}

/// Limits of requests that last long, for each gateway.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Requests at the same time")]
pub struct AtOnceSettings {
    /// Maximum number of downloads of a user, or with a download link, at the same time on a gateway
    #[arg(long, env = "WAYBILL_DOWNLOADS_PER_USER", default_value_t = 500)]
    pub downloads_per_user: u32,
    /// Maximum number of downloads of a company at the same time on a gateway
    #[arg(long, env = "WAYBILL_DOWNLOADS_PER_COMPANY", default_value_t = 10_000)]
    pub downloads_per_company: u32,
    /// Maximum number of downloads with download links at the same time on a gateway from a client address, or from a
    /// /64 network of IPv6
    #[arg(long, env = "WAYBILL_DOWNLOADS_PER_ADDRESS", default_value_t = 5_000)]
    pub downloads_per_address: u32,
    /// Bandwidth in MiB per second of all downloads of a company from a gateway, while other companies use the gateway. 0 is no limit
    #[arg(
        long,
        env = "WAYBILL_SHARED_DOWNLOAD_MIB_PER_S",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(0..=1_048_576)
    )]
    pub shared_download_mib_per_s: u32,
    /// Maximum number of requests of a user that send bytes of files at the same time to a gateway
    #[arg(long, env = "WAYBILL_BODIES_PER_USER", default_value_t = 1_000)]
    pub bodies_per_user: u32,
    /// Maximum number of requests of a company that send bytes of files at the same time to a gateway
    #[arg(long, env = "WAYBILL_BODIES_PER_COMPANY", default_value_t = 10_000)]
    pub bodies_per_company: u32,
    /// Maximum number of requests of a user that wait for a verification at the same time on a gateway. Further ones are
    /// answered without waiting
    #[arg(long, env = "WAYBILL_WAITS_PER_USER", default_value_t = 500)]
    pub waits_per_user: u32,
    /// Maximum number of requests of a company that wait for a verification at the same time on a gateway. Further ones
    /// are answered without waiting
    #[arg(long, env = "WAYBILL_WAITS_PER_COMPANY", default_value_t = 5_000)]
    pub waits_per_company: u32,
    /// Maximum number of audit exports of a company at the same time on a gateway
    #[arg(long, env = "WAYBILL_EXPORTS_PER_COMPANY", default_value_t = 8)]
    pub exports_per_company: u32,
}

/// Settings of the gateway.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Gateway")]
pub struct GatewaySettings {
    /// Address at which the gateway listens for clients
    #[arg(long, env = "WAYBILL_HTTP_ADDR", default_value = "127.0.0.1:8080")]
    pub http_addr: SocketAddr,
    /// Address at which the gateway listens for the host product. If it is set, the host product cannot use the other
    /// address, and users cannot use this one
    #[arg(long, env = "WAYBILL_HOST_ADDR")]
    pub host_addr: Option<SocketAddr>,
    /// File with certificates of authorities (PEM). If it is set, WAYBILL_HOST_ADDR accepts only connections with a client
    /// certificate of one of them (mutual TLS)
    #[arg(long, env = "WAYBILL_HOST_CLIENT_CA_FILE")]
    pub host_client_ca_file: Option<PathBuf>,
    /// Beginning of media URLs, such as the address of a content delivery network. Without it, they are relative to the
    /// address of Waybill
    #[arg(long, env = "WAYBILL_MEDIA_BASE")]
    pub media_base: Option<String>,
    /// Comma-separated URLs of the workers, http or https. A host name stands for all addresses that it resolves to
    #[arg(long, env = "WAYBILL_WORKER_URLS", value_delimiter = ',', default_value = "http://127.0.0.1:8090")]
    pub worker_urls: Vec<String>,
    /// Quota in bytes of a company whose quota no admin has set
    #[arg(long, env = "WAYBILL_DEFAULT_QUOTA_BYTES", default_value_t = 1 << 40)]
    pub default_quota_bytes: u64,
    /// Maximum number of open uploads of a user: uploads that are neither verified nor ended
    #[arg(long, env = "WAYBILL_OPEN_UPLOADS_PER_USER", default_value_t = 50_000)]
    pub open_uploads_per_user: u32,
    /// Maximum number of open uploads of a company
    #[arg(long, env = "WAYBILL_OPEN_UPLOADS_PER_COMPANY", default_value_t = 200_000)]
    pub open_uploads_per_company: u32,
    /// Maximum share of the quota of a company, in percent, that the open uploads of one user can reserve. A user can
    /// always reserve the maximum size of a file. 100 is no limit
    #[arg(
        long,
        env = "WAYBILL_USER_RESERVED_PERCENT",
        default_value_t = 50,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    pub user_reserved_percent: u8,
    /// Maximum number of users, chatrooms, threads and memberships, in total, in the directory of a company
    #[arg(long, env = "WAYBILL_DIRECTORY_MAX_ENTRIES", default_value_t = 2_000_000)]
    pub directory_max_entries: usize,
    /// Number of directory entries of all companies that a gateway keeps in memory, at about 100 bytes each. While
    /// directories are in use, it keeps up to twice as many
    #[arg(long, env = "WAYBILL_DIRECTORY_KEPT_ENTRIES", default_value_t = 2_000_000)]
    pub directory_kept_entries: usize,
    /// Maximum number of associations of a file that have neither ended nor been revoked. Parallel requests can exceed it
    /// by a few
    #[arg(long, env = "WAYBILL_ASSOCIATIONS_PER_FILE", default_value = "1000")]
    pub associations_per_file: NonZeroU32,
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
    /// Bytes per second that the commands of a user can add to the event log in the long run, at each gateway. A company
    /// can add ten times as much. Plain uploads do not count, but changes of files, associations, links and sessions do,
    /// with 512 bytes each and their body
    #[arg(long, env = "WAYBILL_EVENT_BYTES_PER_USER", default_value = "51200")]
    pub event_bytes_per_user: NonZeroU32,
    /// Bytes that the commands of a user can add at once after a pause. A company can add ten times as much
    #[arg(long, env = "WAYBILL_EVENT_BURST_PER_USER", default_value = "33554432")]
    pub event_burst_per_user: NonZeroU32,
    /// Maximum number of new Idempotency-Keys of a company in 24 hours. Requests with further keys are refused. All
    /// companies share one bucket, which by default has space for about 3.5 million keys (see
    /// WAYBILL_IDEMPOTENCY_BUCKET_BYTES)
    #[arg(long, env = "WAYBILL_IDEMPOTENCY_KEYS_PER_COMPANY", default_value = "400000")]
    pub idempotency_keys_per_company: NonZeroU32,
    /// Maximum number of new Idempotency-Keys of a user in 24 hours
    #[arg(long, env = "WAYBILL_IDEMPOTENCY_KEYS_PER_USER", default_value = "100000")]
    pub idempotency_keys_per_user: NonZeroU32,
    /// Requests at the same time.
    #[command(flatten)]
    pub at_once: AtOnceSettings,
    /// Redirect downloads with a download token without max_downloads to the object store, with a URL that is valid for
    /// one minute
    #[arg(
        long,
        env = "WAYBILL_DOWNLOAD_REDIRECTS",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub download_redirects: bool,
    /// Maximum total size in bytes of the files of a session
    #[arg(long, env = "WAYBILL_MAX_SESSION_BYTES", default_value_t = 50 << 30)]
    pub max_session_bytes: u64,
    /// Memory in MiB in which a gateway keeps objects of at most 256 KiB that were read in the last minute. Requests that read the
    /// same object at the same time share one read. 0 reads each time
    #[arg(
        long,
        env = "WAYBILL_SMALL_OBJECT_CACHE_MIB",
        default_value_t = 32,
        value_parser = clap::value_parser!(u64).range(0..=65_536)
    )]
    pub small_object_cache_mib: u64,
    /// Memory in MiB for rows that were read from PostgreSQL, and that are used until an event changes them. 0 keeps none, except in
    /// Redis, if it is set
    #[arg(long, env = "WAYBILL_ROW_CACHE_MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(0..=65_536))]
    pub row_cache_mib: u64,
    /// Largest lag in seconds with which a replica of PostgreSQL may answer queries
    #[arg(
        long,
        env = "WAYBILL_REPLICA_MAX_LAG_S",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=30)
    )]
    pub replica_max_lag_s: u32,
    /// Interval in seconds at which a signed head of the audit is stored for each company with new events. A change of
    /// events can be proved from the next head on
    #[arg(
        long,
        env = "WAYBILL_AUDIT_SEAL_S",
        default_value_t = 900,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub audit_seal_s: u32,
    /// Recording of downloads and lists for the audit, one record per user, file or list, and hour. `on` records in the
    /// background; `strict` answers a request after its record is stored, and refuses it if NATS does not answer
    #[arg(long, env = "WAYBILL_AUDIT_READS", value_enum, default_value_t = AuditReads::On)]
    pub audit_reads: AuditReads,
    /// Number of days for which nobody can delete or change a stored head of the audit, if the bucket has Object Lock.
    /// 0 stores heads without a lock
    #[arg(
        long,
        env = "WAYBILL_AUDIT_LOCK_DAYS",
        default_value_t = 3_650,
        value_parser = clap::value_parser!(u32).range(0..=36_500)
    )]
    pub audit_lock_days: u32,
}

/// Recording of reads: the values of `WAYBILL_AUDIT_READS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditReads {
    /// Reads are not recorded.
    Off,
    /// Reads are recorded in the background.
    On,
    /// A read is answered after its record is stored.
    Strict,
}

impl From<AuditReads> for Mode {
    fn from(reads: AuditReads) -> Self {
        match reads {
            AuditReads::Off => Self::Off,
            AuditReads::On => Self::Background,
            AuditReads::Strict => Self::Strict,
        }
    }
}

impl GatewaySettings {
    /// Returns the maximum size of directories.
    pub(crate) fn directory_limits(&self) -> DirectoryLimits {
        DirectoryLimits { max_entries: self.directory_max_entries, kept_entries: self.directory_kept_entries }
    }

    /// Returns the event budget of a user.
    pub(crate) fn event_rates(&self) -> EventRates {
        EventRates { per_second: self.event_bytes_per_user, burst: self.event_burst_per_user }
    }

    /// Returns the shares of the idempotency keys.
    pub(crate) fn key_shares(&self) -> KeyShares {
        KeyShares { per_company: self.idempotency_keys_per_company, per_user: self.idempotency_keys_per_user }
    }

    /// Returns the limits on open uploads.
    pub(crate) fn open_limits(&self) -> OpenLimits {
        OpenLimits {
            per_user: self.open_uploads_per_user,
            per_company: self.open_uploads_per_company,
            user_percent: self.user_reserved_percent,
        }
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
