//! Settings of the role `content`. Each one is a command-line option and an environment variable; the help texts are the
//! source of `docs/configuration.md`.

use crate::clamd::Address;
use crate::renderer::{RenderSandbox, Renderer};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the role `content`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Content")]
pub struct ContentSettings {
    /// Address of health checks and metrics if the role runs as a separate process
    #[arg(long, env = "WAYBILL_CONTENT_ADDR", default_value = "127.0.0.1:8093")]
    pub content_addr: SocketAddr,
    /// Address of clamd: `tcp:HOST:PORT` or `unix:PATH`. Without it, no file is scanned
    #[arg(long, env = "WAYBILL_CLAMD")]
    pub clamd: Option<Address>,
    /// Largest number of bytes that clamd accepts in one stream: StreamMaxLength in clamd.conf. Set MaxFileSize and
    /// MaxScanSize to at least this value. Larger files are scanned in pieces, and their verdict is UNSCANNED unless
    /// something is found
    #[arg(
        long,
        env = "WAYBILL_CLAMD_STREAM_MAX_BYTES",
        default_value_t = 100 * 1024 * 1024,
        value_parser = clap::value_parser!(u64).range(65_536..=2_147_483_645)
    )]
    pub clamd_stream_max_bytes: u64,
    /// Time in seconds for which a scan waits for clamd: to accept bytes, and to answer after the last byte. Set it above
    /// MaxScanTime of clamd (120 s by default)
    #[arg(long, env = "WAYBILL_CLAMD_TIMEOUT_S", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    pub clamd_timeout_s: u64,
    /// Number of new files that are scanned at the same time. Files that are scanned again take half as many more places.
    /// Set MaxThreads and MaxQueue of clamd to more than the sum of all processes
    #[arg(long, env = "WAYBILL_SCANS_AT_ONCE", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub scans_at_once: u32,
    /// Time in seconds after which the verdict about a file is UNSCANNED if clamd has failed with it again and again. Such
    /// a file is scanned again every hour
    #[arg(long, env = "WAYBILL_SCAN_GIVE_UP_S", default_value_t = 900)]
    pub scan_give_up_s: u64,
    /// Number of days after which a file is scanned again with newer signatures
    #[arg(long, env = "WAYBILL_RESCAN_AFTER_DAYS", default_value_t = 28)]
    pub rescan_after_days: u32,
    /// Previews.
    #[command(flatten)]
    pub previews: PreviewSettings,
    /// Requests to a content delivery network.
    #[command(flatten)]
    pub purges: PurgeSettings,
    /// Compress the objects of files whose bytes allow it. Set the same value for all processes with the role content
    #[arg(long, env = "WAYBILL_COMPRESSION", default_value_t = true, action = clap::ArgAction::Set)]
    pub compression: bool,
    /// Minimum age in seconds of the files that are compressed. Most reads of a file come soon after its upload, and cost less if
    /// it is not compressed
    #[arg(
        long,
        env = "WAYBILL_COMPRESS_AFTER_S",
        default_value_t = 3_600,
        value_parser = clap::value_parser!(i64).range(0..=315_360_000)
    )]
    pub compress_after_s: i64,
    /// Compression level of Zstandard. A higher one takes more CPU time and gains a little
    #[arg(long, env = "WAYBILL_COMPRESSION_LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression_level: i32,
    /// Time in seconds for which an object is kept after a compressed or moved one has replaced it, so that downloads which read it
    /// can end
    #[arg(
        long,
        env = "WAYBILL_REPLACED_KEPT_S",
        default_value_t = 900,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    pub replaced_kept_s: u64,
    /// Interval in seconds at which the role searches for files to archive, if there is a bucket for them (WAYBILL_S3_COLD_BUCKET)
    #[arg(
        long,
        env = "WAYBILL_ARCHIVE_EVERY_S",
        default_value_t = 3_600,
        value_parser = clap::value_parser!(u64).range(1..=604_800)
    )]
    pub archive_every_s: u64,
    /// Interval in seconds at which the role asks the store whether an archived file that somebody wants can be read
    #[arg(long, env = "WAYBILL_THAW_POLL_S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub thaw_poll_s: u64,
    /// Interval in seconds at which the object store is compared with the log, as `waybill reconcile --missing --dry-run`
    /// does. 0 turns this off. One process at a time does it
    #[arg(long, env = "WAYBILL_RECONCILE_EVERY_S", default_value_t = 0)]
    pub reconcile_every_s: u64,
    /// Delete objects and multipart uploads that nothing in the log refers to, after each comparison. Leave it off if the
    /// log could be restored from an older backup than the store
    #[arg(long, env = "WAYBILL_RECONCILE_DELETE", default_value_t = false, action = clap::ArgAction::Set)]
    pub reconcile_delete: bool,
    /// Minimum age in seconds of the objects that these comparisons check. It must exceed the duration of any request
    #[arg(
        long,
        env = "WAYBILL_RECONCILE_OLDER_THAN_S",
        default_value_t = 24 * 3_600,
        value_parser = clap::value_parser!(i64).range(0..=315_360_000)
    )]
    pub reconcile_older_than_s: i64,
    /// Share of the processors in percent up to which other processes may use the machine while the role begins work for which nobody
    /// waits: previews, compression, archival, and scans that are not required. Above it, such work begins only every five seconds.
    /// Set it to 100 on a machine for this role alone
    #[arg(long, env = "WAYBILL_CONTENT_MAX_BUSY", default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub content_max_busy: u32,
    /// Interval in milliseconds at which the role searches for companies and files to scan, and for files to compress
    #[arg(long, env = "WAYBILL_CONTENT_SEARCH_MS", default_value_t = 10_000)]
    pub content_search_ms: u64,
}

/// Settings of the previews.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Content")]
pub struct PreviewSettings {
    /// Make previews of pictures and PDF documents. Set the same value for all processes with the role content
    #[arg(long, env = "WAYBILL_PREVIEWS", default_value_t = true, action = clap::ArgAction::Set)]
    pub previews: bool,
    /// Number of previews that are made at the same time. A company alone gets three quarters of them. Each one takes up to 512 MiB
    /// of memory, and CPU time at the lowest priority
    #[arg(long, env = "WAYBILL_PREVIEWS_AT_ONCE", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub previews_at_once: u32,
    /// Restriction of the program that makes previews. `required`: there are no previews on a system without Landlock
    /// (Linux before 5.13). `best-effort`: the program then runs with resource limits and filtered system calls
    #[arg(long, env = "WAYBILL_RENDER_SANDBOX", default_value = "required")]
    pub render_sandbox: RenderSandbox,
    /// Program that makes previews: a `waybill` of the same version. Default: this program
    #[arg(long, env = "WAYBILL_RENDER_PROGRAM", value_name = "PATH")]
    pub render_program: Option<PathBuf>,
    /// Program that turns an HEIC picture into PNG or JPEG on its standard output. Its only argument is the path of the picture.
    /// Without it, such pictures have no previews
    #[arg(long, env = "WAYBILL_HEIC_PROGRAM", value_name = "PATH")]
    pub heic_program: Option<PathBuf>,
    /// Program that turns a video into a PNG or JPEG picture on its standard output. Its only argument is the path of a file with
    /// the first 64 MiB of the video. Without it, videos have no previews
    #[arg(long, env = "WAYBILL_VIDEO_PROGRAM", value_name = "PATH")]
    pub video_program: Option<PathBuf>,
}

/// Settings of the requests to a content delivery network.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Content")]
pub struct PurgeSettings {
    /// URL that gets a request when nobody may read a file any more, so that a content delivery network forgets its bytes. {company} and
    /// {file} stand for the ids, here and in the body. Set the same value for all processes with the role content
    #[arg(long, env = "WAYBILL_CDN_PURGE_URL", hide_env_values = true, value_name = "URL")]
    pub cdn_purge_url: Option<String>,
    /// Method of these requests
    #[arg(long, env = "WAYBILL_CDN_PURGE_METHOD", default_value = "POST", value_name = "METHOD")]
    pub cdn_purge_method: String,
    /// Body of these requests, usually JSON. Without it, they have none
    #[arg(long, env = "WAYBILL_CDN_PURGE_BODY", hide_env_values = true, value_name = "TEXT")]
    pub cdn_purge_body: Option<String>,
    /// File with the headers of these requests, one in each line, such as `Authorization: Bearer TOKEN`
    #[arg(long, env = "WAYBILL_CDN_PURGE_HEADERS_FILE", value_name = "FILE")]
    pub cdn_purge_headers_file: Option<PathBuf>,
}

impl PreviewSettings {
    /// Returns the program that makes previews.
    pub(crate) fn renderer(&self) -> Renderer {
        // The link of the kernel still works after the file was replaced during an upgrade.
        let program = self.render_program.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let (heic, video) = (self.heic_program.clone(), self.video_program.clone());
        Renderer { program, heic, video, sandbox: self.render_sandbox }
    }

    /// Checks whether the program that makes previews can run with restricted rights and decode a picture.
    ///
    /// # Errors
    /// The reason why not.
    pub async fn check(&self) -> Result<(), String> {
        self.renderer().check().await.map_err(|error| error.to_string())
    }
}

impl ContentSettings {
    /// Returns the time for which a scan waits for clamd.
    pub(crate) fn clamd_timeout(&self) -> Duration {
        Duration::from_secs(self.clamd_timeout_s)
    }

    /// Returns the time after which the verdict about a file with which clamd fails is UNSCANNED.
    pub(crate) fn give_up_after(&self) -> Duration {
        Duration::from_secs(self.scan_give_up_s)
    }

    /// Returns the pause between two searches.
    pub(crate) fn search_every(&self) -> Duration {
        Duration::from_millis(self.content_search_ms)
    }
}
