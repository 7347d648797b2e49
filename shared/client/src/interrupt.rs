//! Interruption of commands by signals.

use crate::end::Ended;
use crate::output::Output;
use tokio::signal::unix::{SignalKind, signal};

/// Message after an interruption of a command that keeps its progress on disk.
pub(crate) const CONTINUES: &str = "stopped; run the same command again to continue";

/// Runs a command until it ends or until a signal interrupts it. Prints `stopped` after a signal.
pub(crate) async fn until_interrupted(
    output: &Output,
    stopped: &str,
    command: impl Future<Output = Result<Ended, String>>,
) -> Result<Ended, String> {
    let failed = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::pin!(command);
    // Clears the bars before the command is dropped. Bars that are dropped with it would stay on the screen.
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
