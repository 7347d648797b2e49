//! `waybill audit`: prints the events of the company or the history of one file, and with `--follow` also new events.
//! It can print the refused requests or the reads instead.

use crate::api::{Api, ApiArgs, Sent};
use crate::end::Ended;
use crate::export::{ExportArgs, export};
use crate::output::{Output, OutputArgs};
use crate::prove::{ProveArgs, prove};
use crate::retry::{Patience, PatienceArgs};
use crate::verify::{VerifyArgs, verify};
use crate::views::AuditEntry;
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Interval between requests for new events.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Subcommands of `waybill audit`. Without a subcommand, it prints events.
#[derive(Subcommand)]
enum AuditCommand {
    Export(ExportArgs),
    Verify(VerifyArgs),
    Prove(ProveArgs),
}

/// Print the audit, one JSON object per line: who did what, when, and why
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill audit --file 01a20a46-85e0-724b-9675-95b91ff3c10c
  waybill audit | jq -r '[.time, .actor, .type] | @tsv'
  waybill audit --follow | jq 'select(.type == \"FileDeleted\")'
  waybill audit --reads --file 01a20a46-85e0-724b-9675-95b91ff3c10c

The token needs the role `auditor`.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Id of a file; prints only what concerns it
    #[arg(long, value_name = "FILE_ID")]
    file: Option<String>,
    /// Position of an event; prints only events after it
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Print refused requests instead of events
    #[arg(long, conflicts_with_all = ["reads", "after", "follow"])]
    refusals: bool,
    /// Print downloads and lists instead of events
    #[arg(long, conflicts_with_all = ["after", "follow"])]
    reads: bool,
    /// Continue with new events until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs `waybill audit`.
///
/// # Errors
/// The reason, for users.
pub fn audit(args: AuditArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        match args.command {
            Some(AuditCommand::Export(args)) => return export(args).await,
            Some(AuditCommand::Verify(args)) => return verify(&args),
            Some(AuditCommand::Prove(args)) => return prove(args).await,
            None => {}
        }
        let api = Api::new(args.api)?;
        let output = Output::new(OutputArgs { json: true, quiet: false });
        let patience = Patience::new(args.patience);
        let mut after = args.after;
        loop {
            let mut query = vec![("limit", "1000".to_owned())];
            query.extend(args.file.iter().map(|file| ("file_id", file.clone())));
            query.extend(after.iter().map(|after| ("after", after.clone())));
            query.extend(args.refusals.then(|| ("refusals", "true".to_owned())));
            query.extend(args.reads.then(|| ("reads", "true".to_owned())));
            let mut last = after.clone();
            let printed = api.pages("/v1/audit", &query, |entry: Sent<AuditEntry>| {
                output.event(|| entry.json);
                last = entry.body.position;
                true
            });
            match printed.await {
                Ok(()) => patience.progress(),
                Err(error) if args.follow => patience
                    .wait(error, |error, _| output.note(&format!("{error}; retrying")))
                    .await
                    .map_err(|error| error.to_string())?,
                Err(error) => return Err(error.to_string()),
            }
            after = last;
            if !args.follow {
                return Ok(Ended::Done);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}
