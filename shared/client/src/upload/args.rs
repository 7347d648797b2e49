//! Arguments of `waybill upload`.

use crate::api::ApiArgs;
use crate::output::OutputArgs;
use crate::retry::PatienceArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Upload files and wait until each is verified
///
/// If the command is interrupted (Ctrl-C, a lost connection, a reboot), run the same command again to continue. A file
/// that has changed in the meantime is uploaded again from the beginning.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  waybill upload holiday.mp4
  waybill upload *.jpg --session 'Summer party'
  waybill upload backup.tar --give-up-after 86400
  waybill upload backup.tar --protocol direct
  waybill upload --json report.pdf | jq -r 'select(.event == \"uploaded\") | .file_id'

Exit codes:
  0    every file is uploaded and verified
  1    a file was refused or cannot be read; the other files are uploaded
  2    the command line is invalid
  75   not complete: Waybill does not answer, the token has expired, or another waybill uploads
       the file; run the same command again to continue
  130  interrupted by Ctrl-C (143 by SIGTERM); run the same command again to continue")]
pub struct UploadArgs {
    /// Files to upload
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Name of a session for all files; it is closed when all of them are uploaded. Before that, other commands with
    /// this name add files to the same session
    #[arg(long, value_name = "NAME")]
    pub(super) session: Option<String>,
    /// Id of the chatroom for the files
    #[arg(long, value_name = "ID")]
    pub(super) chatroom: Option<String>,
    /// Id of the thread for the files
    #[arg(long, value_name = "ID")]
    pub(super) thread: Option<String>,
    /// MIME type of all files; by default, the name of each file determines its type
    #[arg(long, value_name = "TYPE")]
    pub(super) mime_type: Option<String>,
    /// Maximum number of parallel requests for all files together
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32), help_heading = "Transfer")]
    pub(super) parallel: u8,
    /// Protocol of the transfer
    #[arg(long, value_enum, default_value_t = Protocol::Native, help_heading = "Transfer")]
    pub(super) protocol: Protocol,
    /// Upload from the beginning, even if an earlier upload of the same file could continue
    #[arg(long, help_heading = "Transfer")]
    pub(super) no_resume: bool,
    #[command(flatten)]
    pub(super) patience: PatienceArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// Protocol of the transfer of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// Parallel chunks, sent to Waybill
    Native,
    /// tus 1.0, with one request
    Tus,
    /// Presigned URLs, with which the bytes go directly to the object store
    Direct,
}
