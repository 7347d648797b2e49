//! `waybill upload`: uploads several files at the same time, each in parallel chunks, and resumes interrupted uploads.

mod file;
mod sender;
mod session;
mod tus;

use super::api::{Api, ApiArgs, ApiError};
use super::end::Ended;
use super::output::{self, Output, OutputArgs};
use super::retry::PatienceArgs;
use super::state::{Kept, StateError, StateFolder};
use super::{CONTINUES, until_interrupted};
use clap::{Args, ValueEnum};
use file::{Plan, Uploaded};
use futures_util::stream::{self, StreamExt};
use indicatif::ProgressBar;
use serde_json::json;
use session::Session;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

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
pub(crate) struct UploadArgs {
    /// Files to upload
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name of a session for all files; it is closed when all of them are uploaded. Before that, other commands with
    /// this name add files to the same session
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Id of the chatroom for the files
    #[arg(long, value_name = "ID")]
    chatroom: Option<String>,
    /// Id of the thread for the files
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// MIME type of all files; by default, the name of each file determines its type
    #[arg(long, value_name = "TYPE")]
    mime_type: Option<String>,
    /// Maximum number of parallel requests for all files together
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32), help_heading = "Transfer")]
    parallel: u8,
    /// Protocol of the transfer
    #[arg(long, value_enum, default_value_t = Protocol::Native, help_heading = "Transfer")]
    protocol: Protocol,
    /// Upload from the beginning, even if an earlier upload of the same file could continue
    #[arg(long, help_heading = "Transfer")]
    no_resume: bool,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// Protocol of the transfer of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Parallel chunks, sent to Waybill
    Native,
    /// tus 1.0, with one request
    Tus,
    /// Presigned URLs, with which the bytes go directly to the object store
    Direct,
}

/// Reason why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// A request to Waybill failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// The file changed during the upload.
    #[error("the file changed during the upload; run the same command again to upload it from the beginning")]
    Changed,
    /// The upload ended without a file.
    #[error("{message} ({code})")]
    Failed {
        /// Stable error code.
        code: String,
        /// Text for users.
        message: String,
    },
    /// The path cannot be uploaded.
    #[error("{0}")]
    Unfit(String),
    /// Waybill did not verify the file in time.
    #[error("all bytes are uploaded, but Waybill has not verified them yet")]
    Unverified,
    /// The saved state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl UploadError {
    /// Returns `true` if the same command can continue later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unverified | Self::State(StateError::Busy) => true,
            // The saved upload can continue with a valid token.
            Self::Api(error) => error.is_passing() || error.status() == Some(401),
            Self::File(_) | Self::Changed | Self::Unfit(_) | Self::Failed { .. } | Self::State(_) => false,
        }
    }
}

/// State that all uploads of one command share.
pub(crate) struct Shared {
    api: Api,
    output: Output,
    state: StateFolder,
    /// One permit for each request with bytes.
    requests: Semaphore,
    patience: PatienceArgs,
    protocol: Protocol,
    resume: bool,
    total: ProgressBar,
}

pub(crate) async fn upload(args: UploadArgs) -> Result<Ended, String> {
    let output = Output::new(args.output);
    until_interrupted(&output, CONTINUES, upload_all(args, output.clone())).await
}

async fn upload_all(args: UploadArgs, output: Output) -> Result<Ended, String> {
    let api = Api::new(args.api.clone())?;
    let began = Instant::now();
    let (plans, unfit) = plans(&args);
    let size_bytes: u64 = plans.iter().map(Plan::size_bytes).sum();
    let total = if plans.len() > 1 { output.total_bar(plans.len(), size_bytes) } else { ProgressBar::hidden() };
    let state = StateFolder::of_user();
    ["uploads", "sessions"].into_iter().for_each(|kind| state.prune(kind));
    let shared = Arc::new(Shared {
        requests: Semaphore::new(args.parallel.into()),
        patience: args.patience,
        protocol: args.protocol,
        resume: !args.no_resume,
        api,
        output,
        state,
        total,
    });
    for (path, error) in &unfit {
        told_failed(&shared.output, path, path, error);
    }
    let session = match args.session.as_ref().filter(|_| !plans.is_empty()) {
        Some(name) => match Session::open(&shared, name).await {
            Ok(session) => Some(session),
            Err(error) => return ended_by(&shared, "opening the session", &error),
        },
        None => None,
    };
    let session_id = session.as_ref().map(|session| session.id.clone());
    let count = plans.len() + unfit.len();
    let uploads = plans.into_iter().map(|plan| {
        let (shared, session_id) = (shared.clone(), session_id.clone());
        async move { one(&shared, plan, session_id.as_deref()).await }
    });
    let ended: Vec<_> = stream::iter(uploads).buffer_unordered(args.parallel.into()).collect().await;
    shared.total.finish_and_clear();
    shared.output.clear();
    let passing = ended.iter().filter(|result| matches!(result, Err(error) if error.is_passing())).count();
    let failed = ended.iter().filter(|result| result.is_err()).count() + unfit.len();
    let sent: u64 = ended.iter().flatten().map(|(uploaded, _)| uploaded.sent_bytes).sum();
    summary(&shared.output, count, failed, passing, (size_bytes, sent), began);
    if failed > 0 {
        return Ok(if failed == passing { Ended::GoOnLater } else { Ended::Failed });
    }
    if let Some(session) = session
        && let Err(error) = session.close(&shared).await
    {
        return ended_by(&shared, "closing the session", &error);
    }
    // The records are deleted only now. If a file had failed, the next run would have to know which files are uploaded.
    ended.into_iter().flatten().for_each(|(_, kept)| kept.forget());
    Ok(Ended::Done)
}

/// Reports an error that ends the whole command.
fn ended_by(shared: &Shared, what: &str, error: &UploadError) -> Result<Ended, String> {
    shared.output.complain(&format!("{what}: {error}"));
    Ok(if error.is_passing() { Ended::GoOnLater } else { Ended::Failed })
}

/// Uploads one file and prints the result.
async fn one(shared: &Shared, plan: Plan, session_id: Option<&str>) -> Result<(Uploaded, Kept), UploadError> {
    let (name, path) = (plan.name.clone(), plan.shown_path());
    let began = Instant::now();
    let result = file::upload(shared, plan, session_id).await;
    match &result {
        Ok((uploaded, _)) => shared.output.result(
            || {
                let took = output::duration(began.elapsed());
                let how = match uploaded.resumed_bytes {
                    _ if uploaded.was_there => "already uploaded".to_owned(),
                    0 => took,
                    resumed => format!("{took}, {} were already uploaded", output::bytes(resumed)),
                };
                format!(
                    "✓ {}  {}  {how}\n  file {}  sha256 {}",
                    output::printable(&name),
                    output::bytes(uploaded.size_bytes),
                    uploaded.file_id,
                    uploaded.sha256
                )
            },
            || {
                json!({
                    "event": "uploaded", "path": path, "name": name, "file_id": uploaded.file_id,
                    "sha256": uploaded.sha256, "size_bytes": uploaded.size_bytes, "sent_bytes": uploaded.sent_bytes,
                    "resumed_bytes": uploaded.resumed_bytes,
                })
            },
        ),
        Err(error) => told_failed(&shared.output, &path, &name, error),
    }
    result
}

fn told_failed(output: &Output, path: &str, name: &str, error: &UploadError) {
    let resumable = error.is_passing();
    output.event(
        || json!({ "event": "failed", "path": path, "name": name, "error": error.to_string(), "resumable": resumable }),
    );
    output.complain(&format!("✗ {}: {error}", output::printable(name)));
}

fn summary(output: &Output, count: usize, failed: usize, passing: usize, (size, sent): (u64, u64), began: Instant) {
    let elapsed = began.elapsed();
    output.event(|| {
        json!({
            "event": "summary", "files": count, "uploaded": count - failed, "failed": failed - passing,
            "resumable": passing, "size_bytes": size, "sent_bytes": sent, "elapsed_ms": elapsed.as_millis(),
        })
    });
    if count > 1 || failed > 0 {
        let speed = output::bytes((sent as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
        let sent = output::bytes(sent);
        output.note(&format!(
            "{} of {count} files uploaded and verified: {sent} in {}, {speed}/s",
            count - failed,
            output::duration(elapsed)
        ));
    }
    if passing > 0 {
        output.complain(&format!("{passing} files are not complete; run the same command again to continue"));
    }
}

/// Returns the files to upload, and the paths that cannot be uploaded. All paths are checked at the beginning, so that
/// the user does not have to wait for the error.
fn plans(args: &UploadArgs) -> (Vec<Plan>, Vec<(String, UploadError)>) {
    let mut plans: Vec<Plan> = Vec::new();
    let mut unfit = Vec::new();
    for path in &args.files {
        match Plan::of(path, args) {
            Ok(plan) if plans.iter().any(|known| known.path == plan.path && known.name == plan.name) => {}
            Ok(plan) => plans.push(plan),
            Err(error) => unfit.push((path.display().to_string(), error)),
        }
    }
    (plans, unfit)
}

impl Plan {
    fn of(path: &Path, args: &UploadArgs) -> Result<Self, UploadError> {
        let absolute = path.canonicalize()?;
        let metadata = absolute.metadata()?;
        if !metadata.is_file() {
            return Err(UploadError::Unfit("not a regular file".to_owned()));
        }
        std::fs::File::open(&absolute)?;
        // For a link, the name is that of the link, not that of its target.
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| UploadError::Unfit("the name of the file is not valid UTF-8".to_owned()))?;
        let guessed = mime_guess::from_path(path).first_or_octet_stream();
        Ok(Self {
            name: name.to_owned(),
            facts: super::state::FileFacts::of(&metadata),
            mime_type: args.mime_type.clone().unwrap_or_else(|| guessed.essence_str().to_owned()),
            chatroom: args.chatroom.clone(),
            thread: args.thread.clone(),
            path: absolute,
        })
    }
}
