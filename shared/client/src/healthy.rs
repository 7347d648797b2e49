//! `waybill healthy`: a health check for containers. Their image contains no other HTTP client.

use crate::end::Ended;
use clap::Args;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Timeout of the request. It is longer than `/readyz` takes, which waits up to 2 s for each of NATS, PostgreSQL and
/// the store.
const PATIENCE: Duration = Duration::from_secs(10);

/// Send a GET request to a URL such as http://127.0.0.1:8080/readyz; exit with 0 if the answer is a success
#[derive(Args)]
pub struct HealthyArgs {
    /// URL to request
    url: String,
}

/// Runs `waybill healthy`.
///
/// # Errors
/// The reason, for users.
pub fn healthy(args: HealthyArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
        let answer = client.get(&args.url).send().await.map_err(|error| format!("{}: {error}", args.url))?;
        let status = answer.status();
        if status.is_success() { Ok(Ended::Done) } else { Err(format!("{}: status {status}", args.url)) }
    })
}
