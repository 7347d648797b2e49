//! How a command ends, as its exit code.

use std::process::ExitCode;

/// How a command of the client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Everything that was asked for is done.
    Done,
    /// Something failed that will fail again.
    Failed,
    /// Something is not finished, and the same command may go on later: `EX_TEMPFAIL` of sysexits.h.
    GoOnLater,
    /// Ended by a signal of this number.
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
