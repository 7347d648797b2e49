//! Sends the requests of many tenants, and if wanted those of a tenant that does as much harm as it is permitted to.
//! Reads a [`plan::Plan`] from the standard input, and writes a [`Report`] to the standard output. `bench/run` starts it.

mod api;
mod attacks;
mod plan;
mod report;
mod tenants;

use plan::Plan;
use report::Report;
use std::io;
use std::time::Duration;
use tokio::time::Instant;

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
