//! Log output: one JSON object per line, or text for a terminal. Ids are fields. Logs never contain tokens, file names
//! or content.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging to standard error. `filter` has the syntax of `RUST_LOG`. A second call has no effect.
pub fn init(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.compact().try_init() };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
}
