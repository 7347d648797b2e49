//! Counters and gauges of the role `content`.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use std::sync::LazyLock;
use waybill_service_kit::metrics::{counter, counters, gauge};

/// Recorded scans, by verdict.
pub(crate) static SCANS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_scans_total", "Recorded scans for viruses", &["verdict"]));

/// Bytes that were sent to clamd.
pub(crate) static SCANNED_BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_scanned_bytes_total", "Bytes sent to clamd"));

/// State of clamd.
pub(crate) static CLAMD_UP: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_clamd_up", "1 if clamd can scan, 0 if it cannot be reached or fails"));

/// Files whose previews were made, or could not be made, by result: `made` or a reason.
pub(crate) static PREVIEWS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_previews_total", "Files whose previews were made or could not be made", &["result"])
});

/// Files whose metadata was looked at, by result: `removed`, `absent` or `unsupported`.
pub(crate) static STRIPPED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_stripped_total", "Files whose metadata was looked at", &["result"]));

/// Files that may have attacked the program that makes previews.
pub(crate) static SUSPICIOUS: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "waybill_renderer_attacked_total",
        "Files that ended the program that makes previews with a forbidden call or a crash, or changed its answer",
    )
});

/// Files whose compression was considered, by result: `compressed`, or `kept` if it would gain too little.
pub(crate) static COMPRESSIONS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_compressions_total", "Files whose compression was considered", &["result"]));

/// Bytes before and after compression, by `of`: `files` or `objects`.
pub(crate) static COMPRESSED_BYTES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_compressed_bytes_total", "Bytes of compressed files, and of their objects", &["of"])
});

/// Files that could not be compressed.
pub(crate) static COMPRESSION_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("waybill_compression_failures_total", "Files that could not be compressed; they are tried again")
});

/// Requests to a content delivery network, by result: `done`, `failed` (they are sent again), or `late` (not sent, because all URLs had
/// expired).
pub(crate) static CDN_PURGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_cdn_purges_total", "Requests to a content delivery network to forget a file", &["result"])
});

/// State of the program that makes previews.
pub(crate) static RENDERER_UP: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge("waybill_renderer_up", "1 if the program that makes previews can run with restricted rights, 0 if not")
});

/// Files with which the scanner failed so often that their verdict is UNSCANNED.
pub(crate) static GIVEN_UP: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "waybill_scans_given_up_total",
        "Files whose verdict is UNSCANNED because the scanner failed again and again",
    )
});

/// Objects that were moved, by the `tier` to which they were moved.
pub(crate) static MOVES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_moves_total", "Objects that were moved to another storage tier", &["tier"]));

/// Bytes of these objects.
pub(crate) static MOVED_BYTES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_moved_bytes_total", "Bytes that were moved to another storage tier", &["tier"]));

/// Files that could not be archived or restored.
pub(crate) static MOVE_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("waybill_move_failures_total", "Files that could not be archived or restored; they are tried again")
});
