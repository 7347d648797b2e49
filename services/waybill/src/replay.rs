//! `waybill replay`: rebuilds the read model from the events, and compares or replaces the live tables.

use crate::{CommandError, backing};
use clap::Args;
use std::process::ExitCode;
use waybill_event_log::EventLog;
use waybill_projector::{Comparison, PutRight, put_right, replay_into, swap, verify};
use waybill_read_model::Database;
use waybill_service_kit::settings::{DatabaseSettings, NatsSettings};

#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["into", "verify", "swap"])))]
#[command(after_long_help = "\
Examples:
  waybill replay --verify                 compare the live tables with the events
  waybill replay --swap                   rebuild all tables and replace the live ones
  waybill replay --swap --partition 3     correct the rows of partition 3 that differ
  waybill replay --into other             fold all events into the schema \"other\"")]
pub(crate) struct ReplayArgs {
    /// Schema to fold all events into; it is created if it does not exist
    #[arg(long, value_name = "SCHEMA")]
    into: Option<String>,
    /// Rebuild the tables beside the live ones, up to the checkpoints of those, and compare; no process has to stop
    #[arg(long)]
    verify: bool,
    /// Rebuild the tables beside the live ones, compare, and replace the live ones; no process has to stop
    ///
    /// The command builds the new tables in a schema with the name of the live schema and `_next`. If it is
    /// interrupted, run it again to continue. It then renames the live schema to `_old`, and drops it when no query
    /// reads it any more. It prints the differences that the swap has corrected.
    #[arg(long)]
    swap: bool,
    /// Number of the only partition to rebuild with --swap; only rows that differ are written
    #[arg(long, value_name = "NUMBER", requires = "swap")]
    partition: Option<u32>,
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
}

pub(crate) async fn replay(args: ReplayArgs) -> Result<ExitCode, CommandError> {
    let nats = backing::nats(&args.nats).await?;
    let log = backing::log(&args.nats, &nats).await?;
    let live = backing::database(&args.database)?;
    if let Some(schema) = args.into {
        let database = live.in_schema(schema.parse()?)?;
        let folded = replay_into(log.as_ref(), &database).await?;
        println!("{folded} events folded into {schema}");
        return Ok(ExitCode::SUCCESS);
    }
    if args.swap {
        return swap_live(log.as_ref(), &live, args.partition).await;
    }
    let comparison = verify(log.as_ref(), &live).await?;
    print_comparison(&comparison);
    println!("{}", if comparison.is_equal() { "equal" } else { "the live tables differ from the events" });
    Ok(if comparison.is_equal() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn swap_live(log: &dyn EventLog, live: &Database, partition: Option<u32>) -> Result<ExitCode, CommandError> {
    if let Some(partition) = partition {
        if !log.partitions().all().any(|one| one == partition) {
            return Err(format!(
                "there is no partition {partition}; the partitions are 0 to {}",
                log.partitions().count() - 1
            )
            .into());
        }
        print_put_right(&put_right(log, live, partition).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let swapped = swap(log, live).await?;
    if let Some(comparison) = &swapped.comparison {
        print_comparison(comparison);
    }
    let were = match swapped.comparison {
        Some(comparison) if comparison.is_equal() => "the previous tables were equal",
        Some(_) => "the previous tables were different",
        None => "the previous tables lagged behind the log and were not compared",
    };
    println!("the rebuilt tables are live; {were}");
    if let Some(schema) = swapped.left {
        println!(
            "queries still read the previous tables; the next swap drops them, or run DROP SCHEMA {schema} CASCADE"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print_put_right(tables: &[PutRight]) {
    for PutRight { table, written, deleted } in tables {
        println!("{table:<20} {written:>10} rows written, {deleted:>10} deleted");
    }
    let changed: usize = tables.iter().map(|table| table.written + table.deleted).sum();
    println!("{}", if changed == 0 { "all rows were correct" } else { "the rows are corrected" });
}

fn print_comparison(comparison: &Comparison) {
    for (partition, seq) in &comparison.checkpoints {
        println!("partition {partition} up to event {seq}");
    }
    for table in &comparison.tables {
        let verdict = if table.live == table.rebuilt { "equal" } else { "DIFFERS" };
        println!(
            "{:<20} {:>10} rows live, {:>10} rebuilt: {verdict}",
            table.live.table, table.live.rows, table.rebuilt.rows
        );
    }
}
