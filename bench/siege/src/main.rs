//! Sends the requests of many tenants, and if wanted those of a tenant that does as much harm as it is permitted to.
//! Reads a [`Plan`] from the standard input, and writes a [`Report`] to the standard output. `bench/run` starts it.

mod api;
mod attacks;
mod report;
mod tenants;

use report::Report;
use serde::Deserialize;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// Users and duration of a run.
#[derive(Deserialize)]
struct Plan {
    /// URL of the gateway.
    url: String,
    seconds: u64,
    /// Access tokens, one for each tenant.
    tenants: Vec<String>,
    /// Access tokens of users of the tenant that attacks; none for a run without attacks.
    attackers: Vec<String>,
    /// A chatroom of these users.
    chatroom: String,
    /// Letters of the attacks; none for all of them.
    attacks: Vec<String>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let plan: Plan = serde_json::from_reader(io::stdin().lock())?;
    let until = Instant::now() + Duration::from_secs(plan.seconds);
    let (tenants, attacks) =
        tokio::join!(tenants::work(&plan.url, &plan.tenants, until), attacks::attack(&plan, until));
    let report = Report { attacks, ..tenants };
    serde_json::to_writer(io::stdout().lock(), &report)?;
    Ok(())
}
