//! Counters and gauges of the projector.

use prometheus::{IntCounter, IntGaugeVec};
use std::sync::LazyLock;
use waybill_service_kit::metrics::{counter, gauges};

/// Events that this projector could not fold and has parked.
pub(crate) static PARKED_EVENTS: LazyLock<IntCounter> =
    LazyLock::new(|| counter("waybill_parked_events_total", "Events parked by this projector"));

/// Sequence up to which each partition is folded.
pub(crate) static FOLDED_SEQ: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("waybill_folded_seq", "Sequence up to which the partition is folded", &["partition"]));
