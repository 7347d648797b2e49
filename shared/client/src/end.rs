//! Outcome of a client command, and its exit code.

use std::process::ExitCode;

/// Outcome of a client command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command is complete.
    Done,
    /// The command failed, and would fail again.
    Failed,
    /// The command is not complete. The same command can continue later. `EX_TEMPFAIL` of sysexits.h.
    GoOnLater,
    /// A signal with this number ended the command.
    Signal(u8),
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Done => Self::SUCCESS,
            Ended::Failed => Self::FAILURE,
            Ended::GoOnLater => Self::from(75),
            Ended::Signal(number) => Self::from(128 + number),
        }
    }
}
