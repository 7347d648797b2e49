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

use tokio::signal::unix::{SignalKind, signal};

/// Runs a command until it ends, or until the user ends it; what it keeps for the next time is on disk by then.
pub(crate) async fn until_interrupted(
    command: impl Future<Output = Result<Ended, String>>,
) -> Result<Ended, crate::CommandError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let number = tokio::select! {
        ended = command => return Ok(ended?),
        ended = tokio::signal::ctrl_c() => { ended?; 2 }
        _ = terminate.recv() => 15,
    };
    eprintln!("stopped; the same command goes on where it was");
    Ok(Ended::Signal(number))
}
