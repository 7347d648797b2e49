//! The limit of the operating system on the open files and connections of a process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;

/// Number of files that a ready process must still be able to open: enough for requests to its servers.
const SPARE: usize = 32;

/// Raises the soft limit of open files to the hard limit. Many systems have a soft limit of 1,024 for the sake of old
/// programs. Each WebSocket takes one file descriptor, and so does each request of a gateway to a worker.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!(before = current, limit = maximum, "raised the limit of open files"),
        Err(error) => tracing::warn!(limit = current, %error, "cannot raise the limit of open files"),
    }
}

/// Checks that this process can open more files and connections.
///
/// # Errors
/// The error of the operating system.
pub fn check() -> io::Result<()> {
    let opened: io::Result<Vec<File>> = (0..SPARE).map(|_| File::open("/dev/null")).collect();
    opened.map(drop)
}
