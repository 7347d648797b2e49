//! Logs: structured, one JSON object a line, or text for a terminal. Ids as fields; never tokens, names or bytes.

use tracing_subscriber::{EnvFilter, fmt};

/// Begins logging to standard error. `filter` is in the syntax of `RUST_LOG`; a second call changes nothing.
pub fn init(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.compact().try_init() };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}
