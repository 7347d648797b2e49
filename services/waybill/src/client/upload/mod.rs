//! `waybill upload`: files, several at once, each in parallel chunks, resumed where it stopped.

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

/// Upload files, and wait until each is verified
///
/// Whatever ends it (Ctrl-C, a dead connection, a reboot): the same command again goes on where it stopped. A file that
/// was changed meanwhile is uploaded anew.
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
  1    a file was refused or cannot be read; the others are uploaded
  2    the command line cannot be understood
  75   not finished, because Waybill or the network does not answer, the token has ended, or
       another waybill is at it: the same command goes on
  130  ended by Ctrl-C (143 by SIGTERM): the same command goes on")]
pub(crate) struct UploadArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Upload them together into a session of this name; it is closed when all of them are there. Until then the same
    /// name means the same session, also for other files
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
    /// Into this chatroom
    #[arg(long, value_name = "ID")]
    chatroom: Option<String>,
    /// Into this thread
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// The MIME type of all of them; without it, by their names
    #[arg(long, value_name = "TYPE")]
    mime_type: Option<String>,
    /// How many requests are under way at once, for all files together
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32), help_heading = "Transfer")]
    parallel: u8,
    /// How the bytes go
    #[arg(long, value_enum, default_value_t = Protocol::Native, help_heading = "Transfer")]
    protocol: Protocol,
    /// Begin anew, even where an upload of the same file could go on
    #[arg(long, help_heading = "Transfer")]
    no_resume: bool,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    api: ApiArgs,
}

/// How the bytes of a file go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// In parallel chunks through Waybill
    Native,
    /// By tus 1.0, in one request
    Tus,
    /// To the object store, by URLs that Waybill signs
    Direct,
}

/// Why a file is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Waybill or the way there.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// It was written to meanwhile.
    #[error("it was changed while it was being uploaded; the same command uploads it anew")]
    Changed,
    /// What Waybill says in the end.
    #[error("{message} ({code})")]
    Failed {
        /// The stable code.
        code: String,
        /// For a person.
        message: String,
    },
    /// It cannot be sent.
    #[error("{0}")]
    Unfit(String),
    /// Not verified within the patience.
    #[error("all bytes are there, but they are not verified yet")]
    Unverified,
    /// What is remembered.
    #[error(transparent)]
    State(#[from] StateError),
}

impl UploadError {
    /// Whether the same command may go on later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unverified | Self::State(StateError::Busy) => true,
            // What was begun is remembered, and goes on with a token that is good.
            Self::Api(error) => error.is_passing() || error.status() == Some(401),
            Self::File(_) | Self::Changed | Self::Unfit(_) | Self::Failed { .. } | Self::State(_) => false,
        }
    }
}

/// What the uploads of one command have in common.
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
    // Only now: had one of them failed, the same command would have had to know which are there.
    ended.into_iter().flatten().for_each(|(_, kept)| kept.forget());
    Ok(Ended::Done)
}

/// What ends a command as a whole.
fn ended_by(shared: &Shared, what: &str, error: &UploadError) -> Result<Ended, String> {
    shared.output.complain(&format!("{what}: {error}"));
    Ok(if error.is_passing() { Ended::GoOnLater } else { Ended::Failed })
}

/// One file, with what is said about it.
async fn one(shared: &Shared, plan: Plan, session_id: Option<&str>) -> Result<(Uploaded, Kept), UploadError> {
    let (name, path) = (plan.name.clone(), plan.shown_path());
    let began = Instant::now();
    let result = file::upload(shared, plan, session_id).await;
    match &result {
        Ok((uploaded, _)) => shared.output.result(
            || {
                let took = output::duration(began.elapsed());
                let how = match uploaded.resumed_bytes {
                    _ if uploaded.was_there => "was there already".to_owned(),
                    0 => took,
                    resumed => format!("{took}, {} were there already", output::bytes(resumed)),
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
        output.complain(&format!("{passing} not finished: the same command goes on where it stopped"));
    }
}

/// What is to be done, and the paths that nothing can be done with: a file that cannot be read should not be found an
/// hour later.
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
            return Err(UploadError::Unfit("it is no file".to_owned()));
        }
        std::fs::File::open(&absolute)?;
        // The name that was given, not that of what a link points to.
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| UploadError::Unfit("its name cannot be sent: it is not UTF-8".to_owned()))?;
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
