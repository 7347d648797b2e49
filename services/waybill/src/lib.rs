//! The commands of the binary `waybill`: serving any role of the upload backend, setting one up, and uploading files to
//! one. A library, so that tests start the same roles in their own process.

mod audit_store;
mod backing;
mod client;
mod doctor;
mod operate;
mod parked;
#[cfg(test)]
mod reference;
mod replay;
pub mod serve;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;
use waybill_service_kit::settings::LogSettings;
use waybill_service_kit::telemetry;

/// Event-sourced uploads: durable, resumable, verified.
///
/// Sending and fetching files needs a running Waybill (WAYBILL_URL) and a token (WAYBILL_TOKEN). The commands that serve
/// and operate one take its settings from WAYBILL_… variables; `waybill serve --help` lists them.
#[derive(Parser)]
#[command(version, about, after_help = "`waybill COMMAND --help` explains a command, with examples.")]
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
    /// Run a role, or all of them in one process
    Serve(Box<serve::ServeArgs>),
    /// Make what is missing: tables, streams, key-value buckets, the S3 bucket
    Provision(operate::ProvisionArgs),
    /// Say whether NATS, Postgres and the store can do what Waybill needs, and what is missing
    Doctor(doctor::DoctorArgs),
    /// Rebuild the read models from the events, compare them with the live ones, or replace those
    Replay(replay::ReplayArgs),
    /// Show events that could not be reacted to or projected, and have them tried again
    Parked(parked::ParkedArgs),
    /// Compare the store with the events: what nothing refers to, and files whose object is missing
    AuditStore(audit_store::AuditStoreArgs),
    /// Print a token for development
    Token(operate::TokenArgs),
    Healthy(client::HealthyArgs),
    /// Print completions for a shell
    #[command(after_long_help = "\
Examples:
  waybill completions bash > ~/.local/share/bash-completion/completions/waybill
  waybill completions zsh > \"${fpath[1]}/_waybill\"
  waybill completions fish > ~/.config/fish/completions/waybill.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What a command ends with when it fails: text for a person.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the process was started with, to its end.
pub fn main() -> ExitCode {
    // Here and not in the binary: what a crate awaits is compiled in it once more.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(command()),
        Err(error) => {
            eprintln!("waybill: the runtime does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn command() -> ExitCode {
    let cli = Cli::parse();
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
        Command::Doctor(args) => doctor::doctor(args).await?,
        Command::Replay(args) => replay::replay(args).await?,
        Command::Parked(args) => parked::parked(args).await?,
        Command::AuditStore(args) => audit_store::audit_store(args).await?,
        Command::Token(args) => operate::token(&args).map(|()| ExitCode::SUCCESS)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut script);
            std::io::stdout().write_all(&script)?;
            ExitCode::SUCCESS
        }
    })
}
