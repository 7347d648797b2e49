//! `waybill healthy`: for health checks of containers, whose image holds nothing else that could ask.

use super::end::Ended;
use clap::Args;
use std::time::Duration;

/// Longer than `/readyz` may take: it asks NATS, Postgres and the store, 2 s each at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ask a URL such as http://127.0.0.1:8080/readyz; end with 0 if it answers with success
#[derive(Args)]
pub(crate) struct HealthyArgs {
    /// The URL
    url: String,
}

pub(crate) async fn healthy(args: HealthyArgs) -> Result<Ended, String> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| error.to_string())?;
    let answer = client.get(&args.url).send().await.map_err(|error| format!("{}: {error}", args.url))?;
    let status = answer.status();
    if status.is_success() { Ok(Ended::Done) } else { Err(format!("{}: status {status}", args.url)) }
}
