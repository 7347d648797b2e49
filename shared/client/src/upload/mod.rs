//! `waybill upload`: uploads several files at the same time, each in parallel chunks, and resumes interrupted uploads.

mod args;
mod error;
mod file;
mod plan;
mod sender;
mod session;
mod shared;
mod transfer;
mod tus;

pub use args::UploadArgs;

use crate::api::Api;
use crate::end::Ended;
use crate::interrupt::{CONTINUES, until_interrupted};
use crate::output::{self, Output};
use crate::state::{Kept, StateFolder};
use error::UploadError;
use file::Uploaded;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use indicatif::ProgressBar;
use plan::Plan;
use serde_json::json;
use session::Session;
use shared::Shared;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Runs `waybill upload`.
///
/// # Errors
/// The reason, for users.
pub fn upload(args: UploadArgs) -> BoxFuture<'static, Result<Ended, String>> {
    Box::pin(async move {
        let output = Output::new(args.output);
        until_interrupted(&output, CONTINUES, upload_all(args, output.clone())).await
    })
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
    let files = plans.len() + unfit.len();
    let uploads = plans.into_iter().map(|plan| {
        let (shared, session_id) = (shared.clone(), session_id.clone());
        async move { one(&shared, plan, session_id.as_deref()).await }
    });
    let ended: Vec<_> = stream::iter(uploads).buffer_unordered(args.parallel.into()).collect().await;
    shared.total.finish_and_clear();
    shared.output.clear();
    let passing = ended.iter().filter(|result| matches!(result, Err(error) if error.is_passing())).count();
    let failed = ended.iter().filter(|result| result.is_err()).count() + unfit.len();
    let sent_bytes: u64 = ended.iter().flatten().map(|(uploaded, _)| uploaded.sent_bytes).sum();
    Summary { files, failed, passing, size_bytes, sent_bytes, elapsed: began.elapsed() }.print(&shared.output);
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

/// Totals of a command.
struct Summary {
    /// Number of files.
    files: usize,
    /// Number of files that were not uploaded.
    failed: usize,
    /// Number of failed files that the same command can continue later.
    passing: usize,
    /// Size of all files in bytes.
    size_bytes: u64,
    /// Number of bytes that this run sent.
    sent_bytes: u64,
    /// Duration of the command.
    elapsed: Duration,
}

impl Summary {
    fn print(&self, output: &Output) {
        let Self { files, failed, passing, size_bytes, sent_bytes, elapsed } = *self;
        output.event(|| {
            json!({
                "event": "summary", "files": files, "uploaded": files - failed, "failed": failed - passing,
                "resumable": passing, "size_bytes": size_bytes, "sent_bytes": sent_bytes,
                "elapsed_ms": elapsed.as_millis(),
            })
        });
        if files > 1 || failed > 0 {
            let speed = output::bytes((sent_bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64);
            let sent = output::bytes(sent_bytes);
            output.note(&format!(
                "{} of {files} files uploaded and verified: {sent} in {}, {speed}/s",
                files - failed,
                output::duration(elapsed)
            ));
        }
        if passing > 0 {
            output.complain(&format!("{passing} files are not complete; run the same command again to continue"));
        }
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
