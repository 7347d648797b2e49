//! Open files and connections: the operating system limits how many a process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;

/// How many more must be possible for a process to be ready: enough for its servers to be asked.
const SPARE: usize = 32;

/// Raises the soft limit of open files to the hard one. Many systems begin with a soft limit of 1,024 for the sake of old
/// programs; a WebSocket takes one, and so does each request behind a gateway.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => tracing::info!(before = current, limit = maximum, "open files"),
        Err(error) => tracing::warn!(limit = current, %error, "the limit of open files stays as it is"),
    }
}

/// Returns whether this process can open more files and connections.
///
/// # Errors
/// The one of the operating system if it cannot.
pub fn check() -> io::Result<()> {
    let opened: io::Result<Vec<File>> = (0..SPARE).map(|_| File::open("/dev/null")).collect();
    opened.map(drop)
}
