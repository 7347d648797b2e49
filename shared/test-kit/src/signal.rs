//! Sends signals to processes that a test has started.

use std::process::{Child, Command};

/// Sends a signal, for example `STOP`, to a child process.
///
/// # Panics
/// Panics if the signal cannot be sent.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "a signal can be sent to a child process");
}
