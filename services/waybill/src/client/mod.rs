//! Client commands: they know a running Waybill by its URL and a token.

mod api;
mod audit;
mod end;
mod files;
mod get;
mod healthy;
mod output;
mod retry;
mod state;
mod upload;
mod verify;
mod watch;

pub(crate) use audit::{AuditArgs, audit};
pub(crate) use end::Ended;
pub(crate) use files::{LsArgs, QuotaArgs, ls, quota};
pub(crate) use get::{GetArgs, get};
pub(crate) use healthy::{HealthyArgs, healthy};
pub(crate) use upload::{UploadArgs, upload};
pub(crate) use watch::{WatchArgs, watch};

use output::Output;
use tokio::signal::unix::{SignalKind, signal};

/// Said after an interruption by commands that keep their progress on disk.
const CONTINUES: &str = "stopped; run the same command again to continue";

/// Runs a command until it ends, or until the user ends it. Then it prints `stopped`.
async fn until_interrupted(
    output: &Output,
    stopped: &str,
    command: impl Future<Output = Result<Ended, String>>,
) -> Result<Ended, String> {
    let failed = |error: std::io::Error| format!("signals cannot be listened for: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::pin!(command);
    // The bars go before the command is dropped: those that it drops would stay on the screen.
    let number = tokio::select! {
        ended = &mut command => return ended,
        ended = tokio::signal::ctrl_c() => {
            ended.map_err(failed)?;
            output.clear_after_ctrl_c();
            2
        }
        _ = terminate.recv() => {
            output.clear();
            15
        }
    };
    eprintln!("{stopped}");
    Ok(Ended::Signal(number))
}
