//! `waybill previews`: makes the missing previews of files once.

use crate::CommandError;
use crate::scan::RoleArgs;
use clap::Args;
use std::process::ExitCode;
use uuid::Uuid;
use waybill_content::backfill::preview_all;
use waybill_schema::CompanyId;

#[derive(Args)]
#[command(after_long_help = "\
The command needs the settings of the role content, with its user of NATS. The role can run meanwhile.

Exit codes: 0 all files were looked at; 1 some could not be looked at.

Examples:
  waybill previews                         files of before WAYBILL_PREVIEWS was set
  waybill previews --again --company ID    also files whose previews could not be made, for example after an upgrade")]
pub(crate) struct PreviewsArgs {
    /// Try again to make previews that could not be made before
    #[arg(long)]
    again: bool,
    /// Company whose files get previews. Default: all companies
    #[arg(long, value_name = "ID")]
    company: Option<Uuid>,
    #[command(flatten)]
    role: RoleArgs,
}

pub(crate) async fn previews(args: PreviewsArgs) -> Result<ExitCode, CommandError> {
    let done = preview_all(args.role.config().await?, args.company.map(CompanyId), args.again).await?;
    println!(
        "{} files got previews, {} cannot have any, {} could not be looked at",
        done.made, done.failed, done.unknown
    );
    Ok(if done.unknown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
