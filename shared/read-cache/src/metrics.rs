//! Metrics of the cache.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use std::sync::LazyLock;
use waybill_service_kit::metrics::{counter, counters, gauge};

/// Place in which an entry was found.
#[derive(Clone, Copy)]
pub(crate) enum Result {
    Near,
    Far,
    Missing,
    Outdated,
}

impl Result {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Near => "process",
            Self::Far => "redis",
            Self::Missing => "missing",
            Self::Outdated => "outdated",
        }
    }
}

pub(crate) static READS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let text = "Entries of the cache of rows that were looked up, by where they were found";
    counters("waybill_cache_reads_total", text, &["kind", "result"])
});

pub(crate) static USABLE: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("waybill_redis_usable", "1 while Redis answers in time, otherwise 0"));

pub(crate) static FAILURES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_redis_failures_total", "Times that Redis failed or did not answer in time"));
