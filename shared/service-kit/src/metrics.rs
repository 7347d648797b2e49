//! Registration of the counters and gauges that `/metrics` shows in the text format of Prometheus. Each crate defines its
//! own metrics.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder};

/// Registers a counter. The process ends if the name is invalid or registered, so call it once per name.
pub fn counter(name: &str, help: &str) -> IntCounter {
    registered(IntCounter::new(name, help))
}

/// Registers a counter with labels, as [`counter`] does.
pub fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels))
}

/// Registers a gauge, as [`counter`] does.
pub fn gauge(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::new(name, help))
}

/// Registers a gauge with labels, as [`counter`] does.
pub fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), labels))
}

#[expect(clippy::expect_used, reason = "names and labels are constants; each is registered once, in a LazyLock")]
fn registered<C: Collector + Clone + 'static>(collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("a metric's name and labels are valid");
    prometheus::register(Box::new(collector.clone())).expect("a metric is registered once");
    collector
}

/// Returns all metrics as text.
pub fn text() -> String {
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_default()
}
