//! Log output: one JSON object per line, or text for a terminal. Ids are fields. Logs never contain tokens, file names
//! or content.

use tracing::Level;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::{EnvFilter, fmt};

/// Libraries whose debug output can contain URLs with signatures, headers and SQL with values.
const LIBRARIES: [&str; 17] = [
    "actix_http",
    "actix_web",
    "async_nats",
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_sdk_s3",
    "aws_sigv4",
    "aws_smithy_http",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "h2",
    "hyper",
    "reqwest",
    "rustls",
    "tokio_postgres",
];

/// Starts logging to standard error. `filter` has the syntax of `RUST_LOG`. Libraries that could log secrets log only at
/// the levels `info`, `warn` and `error`, whatever the filter says. A second call has no effect.
pub fn init(filter: &str, json: bool) {
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let builder = fmt().with_env_filter(safe(filter)).with_writer(std::io::stderr).with_ansi(ansi);
    let started = if json { builder.json().flatten_event(true).try_init() } else { builder.compact().try_init() };
    if started.is_err() {
        tracing::debug!("logging was already started");
    }
}

/// Returns the filter, without the debug output of [`LIBRARIES`]. Returns the filter `info` if the text is invalid.
fn safe(filter: &str) -> EnvFilter {
    let is_about = |directive: &str, library: &str| directive.trim_start().starts_with(library);
    let is_quiet =
        |directive: &str| ["=info", "=warn", "=error", "=off"].iter().any(|end| directive.trim_end().ends_with(end));
    let (quiet, others): (Vec<&str>, Vec<&str>) = filter
        .split(',')
        .filter(|directive| is_quiet(directive) || !LIBRARIES.iter().any(|library| is_about(directive, library)))
        .partition(|directive| LIBRARIES.iter().any(|library| is_about(directive, library)));
    let filter = EnvFilter::try_new(others.join(",")).unwrap_or_else(|_| EnvFilter::new("info"));
    if filter.max_level_hint().is_some_and(|most| most <= LevelFilter::INFO) {
        return filter;
    }
    let at_most = |library: &str| format!("{library}={}", Level::INFO).parse::<Directive>().ok();
    let limits = LIBRARIES.into_iter().filter_map(at_most);
    // Later directives replace earlier ones of the same target.
    limits.chain(quiet.iter().filter_map(|quiet| quiet.trim().parse().ok())).fold(filter, EnvFilter::add_directive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::subscriber::with_default;

    #[test]
    fn l17_libraries_that_could_log_secrets_have_no_debug_output() {
        for filter in ["trace", "debug,hyper=trace", "info,aws_smithy_runtime=debug", "debug,hyper::client=trace"] {
            let subscriber =
                tracing_subscriber::fmt().with_env_filter(safe(filter)).with_writer(std::io::sink).finish();
            with_default(subscriber, || {
                assert!(!tracing::enabled!(target: "hyper::client", Level::DEBUG), "{filter}");
                assert!(!tracing::enabled!(target: "aws_smithy_runtime::client", Level::DEBUG), "{filter}");
                assert!(tracing::enabled!(target: "hyper::client", Level::INFO), "{filter}");
            });
        }
        let own = tracing_subscriber::fmt().with_env_filter(safe("debug")).with_writer(std::io::sink).finish();
        with_default(own, || assert!(tracing::enabled!(target: "waybill_gateway", Level::DEBUG)));
        let quieter =
            tracing_subscriber::fmt().with_env_filter(safe("debug,hyper=off")).with_writer(std::io::sink).finish();
        with_default(quieter, || assert!(!tracing::enabled!(target: "hyper::client", Level::ERROR)));
        let quiet = tracing_subscriber::fmt().with_env_filter(safe("warn")).with_writer(std::io::sink).finish();
        with_default(quiet, || assert!(!tracing::enabled!(target: "hyper::client", Level::INFO)));
    }
}
