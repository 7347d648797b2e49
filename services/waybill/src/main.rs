//! `waybill`: serves any role of the upload backend, sets one up, and uploads files to one.

mod backing;
mod client;
mod operate;
mod serve;

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
    Serve(serve::ServeArgs),
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
type CommandError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init(&cli.log.log, cli.log.log_format == "json");
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
        Command::Serve(args) => serve::serve(args).await.map(|()| ExitCode::SUCCESS),
        Command::Provision(args) => operate::provision(args).await.map(|()| ExitCode::SUCCESS),
        Command::Token(args) => operate::token(&args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => operate::replay(args).await,
        Command::Audit(args) => client::audit(args).await.map(|()| ExitCode::SUCCESS),
        Command::Upload(args) => client::upload(args).await.map(|()| ExitCode::SUCCESS),
    }
}
