//! Commands of the `waybill` binary: they serve the roles of the upload backend, set up its servers, and act as a
//! client. It is a library so that tests can start the same roles in their own process.

mod audit_store;
mod backing;
mod cleartext;
mod doctor;
mod error;
mod listeners;
mod media_keys;
mod operate;
mod parked;
mod previews;
#[cfg(test)]
mod reference;
mod replay;
mod scan;
pub mod serve;

pub use error::CommandError;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use waybill_client as client;
use waybill_render::Wanted;
use waybill_render::sandbox::Strictness;
use waybill_service_kit::settings::LogSettings;
use waybill_service_kit::telemetry;

/// Event-sourced uploads: durable, resumable, verified.
///
/// The client commands need a running Waybill (WAYBILL_URL) and a token (WAYBILL_TOKEN). The commands that serve and
/// operate Waybill read their settings from WAYBILL_… variables; `waybill serve --help` lists them.
#[derive(Parser)]
#[command(version, about, after_help = "Run `waybill COMMAND --help` for the details of a command and examples.")]
struct Cli {
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Upload(client::UploadArgs),
    Get(client::GetArgs),
    Ls(client::LsArgs),
    Watch(client::WatchArgs),
    Quota(client::QuotaArgs),
    Audit(client::AuditArgs),
    /// Run one role, or all roles in one process
    Serve(Box<serve::ServeArgs>),
    /// Create missing tables, streams, key-value buckets and the S3 bucket
    Provision(operate::ProvisionArgs),
    /// Check whether NATS, PostgreSQL and the object store meet the requirements of Waybill
    Doctor(Box<doctor::DoctorArgs>),
    /// Rebuild the read model from the events, and compare it with the live tables or replace them
    Replay(replay::ReplayArgs),
    /// Show and retry parked events: events that a worker or projector could not handle
    Parked(parked::ParkedArgs),
    /// Compare the object store with the events: find unreferenced objects and files without an object
    AuditStore(audit_store::AuditStoreArgs),
    /// Delete objects and multipart uploads in the object store that nothing in the log refers to
    Reconcile(audit_store::ReconcileArgs),
    /// Scan verified files for viruses once
    Scan(Box<scan::ScanArgs>),
    /// Make the missing previews of files once
    Previews(Box<previews::PreviewsArgs>),
    /// Make previews of the file on the standard input. The role content starts this program for each file
    #[command(hide = true)]
    Render {
        /// Continue if the system has no Landlock
        #[arg(long)]
        best_effort: bool,
        /// Find the metadata of the file instead
        #[arg(long, conflicts_with = "program")]
        location: bool,
        /// Run this program instead, which turns the file into a picture
        #[arg(long)]
        program: Option<PathBuf>,
    },
    /// Print the keys of media URLs, with which the edges of a content delivery network check them
    MediaKeys(media_keys::MediaKeysArgs),
    /// Print a token for development
    Token(operate::TokenArgs),
    Healthy(client::HealthyArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = "\
Examples:
  waybill completions bash > ~/.local/share/bash-completion/completions/waybill
  waybill completions zsh > \"${fpath[1]}/_waybill\"
  waybill completions fish > ~/.config/fish/completions/waybill.fish")]
    Completions {
        /// Name of the shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command of this process's command line and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Render { best_effort, location, program } = cli.command {
        // This program must have only one thread, and needs none of the rest.
        let strictness = if best_effort { Strictness::BestEffort } else { Strictness::Required };
        return match program {
            None if location => waybill_render::main(Wanted::Location, strictness),
            None => waybill_render::main(Wanted::Previews, strictness),
            Some(program) => waybill_render::run_program(&program, strictness),
        };
    }
    // The runtime starts here, not in the binary, because a crate that awaits a future compiles the future again.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(command(cli)),
        Err(error) => {
            eprintln!("waybill: cannot start the Tokio runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn command(cli: Cli) -> ExitCode {
    let usual =
        if matches!(cli.command, Command::Serve(_)) { "info,actix_server=warn,async_nats=warn" } else { "warn" };
    telemetry::init(cli.log.log.as_deref().unwrap_or(usual), cli.log.log_format == "json");
    match run(cli.command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("waybill: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, CommandError> {
    Ok(match command {
        Command::Upload(args) => client::upload(args).await?.into(),
        Command::Get(args) => client::get(args).await?.into(),
        Command::Ls(args) => client::ls(args).await?.into(),
        Command::Watch(args) => client::watch(args).await?.into(),
        Command::Quota(args) => client::quota(args).await?.into(),
        Command::Audit(args) => client::audit(args).await?.into(),
        Command::Healthy(args) => client::healthy(args).await?.into(),
        Command::Serve(args) => serve::run(*args).await.map(|()| ExitCode::SUCCESS)?,
        Command::Provision(args) => operate::provision(args).await.map(|()| ExitCode::SUCCESS)?,
        Command::Doctor(args) => doctor::doctor(*args).await?,
        Command::Replay(args) => replay::replay(args).await?,
        Command::Parked(args) => parked::parked(args).await?,
        Command::AuditStore(args) => audit_store::audit_store(args).await?,
        Command::Reconcile(args) => audit_store::reconcile(args).await?,
        Command::Scan(args) => scan::scan(*args).await?,
        Command::Previews(args) => previews::previews(*args).await?,
        // It was run before the runtime started.
        Command::Render { .. } => ExitCode::FAILURE,
        Command::MediaKeys(args) => media_keys::media_keys(&args).map(|()| ExitCode::SUCCESS)?,
        Command::Token(args) => operate::token(&args).map(|()| ExitCode::SUCCESS)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut script);
            std::io::stdout().write_all(&script)?;
            ExitCode::SUCCESS
        }
    })
}
