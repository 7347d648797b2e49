//! Counters and gauges that `/metrics` shows in the text format of Prometheus.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder};
use std::sync::LazyLock;

/// Requests by route and class of status.
pub static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_http_requests_total", "Requests by route and class of status", &["route", "class"])
});
/// Bytes of request bodies that a worker has read.
pub static RECEIVED_BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| registered(IntCounter::new("waybill_received_bytes_total", "Bytes received by this worker")));
/// Bytes that a worker has sent to the object store.
pub static STORED_BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new("waybill_stored_bytes_total", "Bytes that this worker sent to the object store"))
});
/// Events that a projector could not fold and has parked.
pub static PARKED_EVENTS: LazyLock<IntCounter> =
    LazyLock::new(|| registered(IntCounter::new("waybill_parked_events_total", "Events parked by this projector")));
/// Sequence up to which each partition is folded.
pub static FOLDED_SEQ: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    registered(IntGaugeVec::new(
        Opts::new("waybill_folded_seq", "Sequence up to which the partition is folded"),
        &["partition"],
    ))
});
/// Number of recalculations that found a difference between a company's files and its quota.
pub static QUOTA_DRIFTS: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Recalculations that found a difference between files and quota";
    registered(IntCounter::new("waybill_quota_drifts_total", help))
});
/// Rounds of the sweep that failed, by kind of candidates.
pub static SWEEP_FAILURES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_sweep_failures_total", "Rounds of the sweep that failed", &["kind"]));
/// Denied requests that could not be recorded for auditors.
pub static LOST_REFUSALS: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new(
        "waybill_lost_refusals_total",
        "Denied requests that could not be recorded for auditors",
    ))
});
/// Objects that the store refuses to delete.
pub static LEFTOVERS: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("waybill_leftover_objects", "Objects that the store refuses to delete")));
/// Parked reactions.
pub static PARKED_REACTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("waybill_parked_reactions", "Parked reactions; see `waybill parked`")));
/// Fill level of the key-value buckets.
pub static BUCKET_FILL: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Used share of the size of a key-value bucket, in percent";
    registered(IntGaugeVec::new(Opts::new("waybill_bucket_fill_percent", help), &["bucket"]))
});
/// Open WebSocket connections.
pub static SOCKETS: LazyLock<IntGauge> =
    LazyLock::new(|| registered(IntGauge::new("waybill_websockets", "Open WebSocket connections")));

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

#[expect(clippy::expect_used, reason = "names and labels are constants of this module; each is registered once")]
fn registered<C: prometheus::core::Collector + Clone + 'static>(collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("a metric's name and labels are valid");
    prometheus::register(Box::new(collector.clone())).expect("a metric is registered once");
    collector
}

/// Returns all metrics as text.
pub fn text() -> String {
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_default()
}
