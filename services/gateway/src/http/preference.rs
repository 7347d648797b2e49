//! Parser for `Prefer: wait=N`.

use actix_web::HttpRequest;
use std::time::Duration;

/// Maximum waiting time that a client can request.
const LONGEST: Duration = Duration::from_secs(120);

/// Returns the waiting time of `Prefer: wait=N` (RFC 7240 §4.3), at most [`LONGEST`].
pub(crate) fn preferred(request: &HttpRequest) -> Option<Duration> {
    let preferences = request.headers().get_all("Prefer").filter_map(|value| value.to_str().ok());
    let waits = preferences.flat_map(|value| value.split([',', ';'])).filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse().ok()).flatten()
    });
    waits.max().map(|seconds: u64| Duration::from_secs(seconds).min(LONGEST))
}
