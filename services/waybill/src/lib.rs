//! The commands of the binary `waybill`: serving any role of the upload backend, setting one up, and uploading files to
//! one. A library, so that tests start the same roles in their own process.

mod backing;
mod client;
mod operate;
pub mod serve;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use waybill_service_kit::settings::LogSettings;
use waybill_service_kit::telemetry;

/// Event-sourced uploads: durable, resumable, verified.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    log: LogSettings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a role, or all of them in one process
    Serve(Box<serve::ServeArgs>),
    /// Make what is missing: tables, streams, key-value buckets, the S3 bucket
    Provision(operate::ProvisionArgs),
    /// Print a token for development
    Token(operate::TokenArgs),
    /// Rebuild the read models from the events, or compare a rebuilt set with the live one
    Replay(operate::ReplayArgs),
    /// Print events, decoded, one JSON object a line
    Audit(client::AuditArgs),
    /// Upload a file
    Upload(client::UploadArgs),
}

/// What a command ends with when it fails: text for a person.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the process was started with.
pub async fn main() -> ExitCode {
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
    match command {
        Command::Serve(args) => serve::run(*args).await.map(|()| ExitCode::SUCCESS),
        Command::Provision(args) => operate::provision(args).await.map(|()| ExitCode::SUCCESS),
        Command::Token(args) => operate::token(&args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => operate::replay(args).await,
        Command::Audit(args) => client::audit(args).await.map(|()| ExitCode::SUCCESS),
        Command::Upload(args) => client::upload(args).await.map(|()| ExitCode::SUCCESS),
    }
}
