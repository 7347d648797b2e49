//! Signals for processes that a test has started.

use std::process::{Child, Command};

/// Sends a child a signal, by its name such as `STOP`.
///
/// # Panics
/// Where it has been waited for already.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(sent.is_ok_and(|status| status.success()), "a signal reaches our own child");
}
