//! Counters and gauges of the worker.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::sync::LazyLock;
use waybill_service_kit::metrics::{counter, counters, gauge, gauges};

/// Bytes of request bodies that this worker has read.
pub(crate) static RECEIVED_BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_received_bytes_total", "Bytes received by this worker"));

/// Bytes that this worker has sent to the object store.
pub(crate) static STORED_BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_stored_bytes_total", "Bytes that this worker sent to the object store"));

/// Recalculations that found a difference between a company's files and its quota.
pub(crate) static QUOTA_DRIFTS: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("waybill_quota_drifts_total", "Recalculations that found a difference between files and quota")
});

/// Rounds of the sweep that failed, by kind of candidates.
pub(crate) static SWEEP_FAILURES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("waybill_sweep_failures_total", "Rounds of the sweep that failed", &["kind"]));

/// Objects that the store refuses to delete.
pub(crate) static LEFTOVERS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_leftover_objects", "Objects that the store refuses to delete"));

/// Parked reactions.
pub(crate) static PARKED_REACTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_parked_reactions", "Parked reactions; see `waybill parked`"));

/// Fill level of the key-value buckets.
pub(crate) static BUCKET_FILL: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("waybill_bucket_fill_percent", "Used share of the size of a key-value bucket, in percent", &["bucket"])
});
