//! Counters of the gateway.

use prometheus::{IntCounter, IntCounterVec};
use std::sync::LazyLock;
use waybill_service_kit::metrics::{counter, counters};

/// Bytes of event budgets that commands have used.
pub(crate) static BUDGETED_BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_event_budget_bytes_total", "Bytes of event budgets that commands have used"));

/// Commands that were refused because a budget was used up.
pub(crate) static BUDGET_REFUSALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("waybill_event_budget_refusals_total", "Commands refused because an event budget is used up", &["of"])
});

/// Pieces of downloads that waited for the bandwidth of their company.
pub(crate) static PACED_DOWNLOADS: LazyLock<IntCounter> = LazyLock::new(|| {
    let text =
        "Pieces of downloads that waited because their company had used its bandwidth while others used the gateway";
    counter("waybill_paced_downloads_total", text)
});
