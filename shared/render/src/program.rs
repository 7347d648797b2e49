//! Runs a program of the operator that turns a file into a picture.

use crate::sandbox::{Strictness, enter_for};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use waybill_domain::preview::SOURCE_MAX_BYTES;

/// Reason why a program was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("cannot keep the file in memory: {0}")]
    Source(#[from] std::io::Error),
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    #[error("cannot start {program}: {reason}")]
    Start { program: String, reason: std::io::Error },
}

/// Replaces this process with `program`. Its only argument is the path of a file in memory that has the bytes of the standard
/// input, because most programs need to go back and forth in a file.
pub(crate) fn replace_with(program: &Path, strictness: Strictness) -> Result<std::convert::Infallible, ProgramError> {
    // The next program inherits the file descriptor.
    let mut source = File::from(memfd_create("source", MemfdFlags::empty()).map_err(std::io::Error::from)?);
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(SOURCE_MAX_BYTES).read_to_end(&mut bytes)?;
    source.write_all(&bytes)?;
    drop(bytes);
    enter_for(program, strictness)?;
    let reason = Command::new(program).arg(format!("/proc/self/fd/{}", source.as_raw_fd())).env_clear().exec();
    Err(ProgramError::Start { program: program.display().to_string(), reason })
}
