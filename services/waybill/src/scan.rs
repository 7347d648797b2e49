//! `waybill scan`: scans verified files for viruses once.

use crate::{CommandError, backing};
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;
use uuid::Uuid;
use waybill_access::Access;
use waybill_content::once::scan_all;
use waybill_event_log::Bucket;
use waybill_event_log::jetstream::JetStreamLog;
use waybill_repository::Repository;
use waybill_schema::{CompanyId, names};
use waybill_service_kit::settings::{DatabaseSettings, NatsSettings, S3Settings, ScanSettings};

#[derive(Args)]
#[command(after_long_help = "\
The command needs the settings of the role content, with its user of NATS. The role can run meanwhile.

Exit codes: 0 all files were scanned; 1 some could not be scanned.

Examples:
  waybill scan                         files without a verdict, or with one of earlier signatures
  waybill scan --again --company ID    all files of a company, for example after new limits of clamd")]
pub(crate) struct ScanArgs {
    /// Scan also files that were scanned with the present signatures
    #[arg(long)]
    again: bool,
    /// Company whose files are scanned. Default: all companies
    #[arg(long, value_name = "ID")]
    company: Option<Uuid>,
    #[command(flatten)]
    role: RoleArgs,
}

/// Settings of the role content, for commands that do its work once.
#[derive(Args)]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    nats: NatsSettings,
    #[command(flatten)]
    database: DatabaseSettings,
    #[command(flatten)]
    s3: S3Settings,
    #[command(flatten)]
    scans: ScanSettings,
    #[command(flatten)]
    content: waybill_content::ContentSettings,
}

impl RoleArgs {
    /// Connects to the servers.
    pub(crate) async fn config(self) -> Result<waybill_content::Config, CommandError> {
        let nats = backing::nats(&self.nats).await?;
        let log = backing::log(&self.nats, &nats).await?;
        let snapshots = Bucket::open(&nats, names::SNAPSHOTS_BUCKET).await;
        let snapshots = snapshots.map_err(|error| format!("{error}; run `waybill provision`"))?;
        let log = Arc::new(JetStreamLog::clone(&log).keeping_snapshots_in(snapshots));
        let database = backing::database(&self.database)?;
        let stores = backing::stores(&self.s3)?;
        Ok(waybill_content::Config {
            settings: self.content,
            nats,
            repository: Arc::new(Repository::new(log.clone())),
            access: Access::new(log, database.clone(), backing::scan_rules(&self.scans)),
            store: stores.all(),
            cold: stores.cold(),
            purge_hook: None,
            database,
        })
    }
}

pub(crate) async fn scan(args: ScanArgs) -> Result<ExitCode, CommandError> {
    let done = scan_all(args.role.config().await?, args.company.map(CompanyId), args.again).await?;
    println!("{} files scanned, {} could not be scanned", done.scanned, done.failed);
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
