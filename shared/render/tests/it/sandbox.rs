//! A process that gave up its rights, and then does what it may not.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use waybill_render::limits::MEMORY_MAX_BYTES;
use waybill_render::sandbox::{Strictness, enter};

const DEED: &str = "DEED";

/// Runs [`child`] in a process of its own.
fn status_of(deed: &str) -> ExitStatus {
    let child = ["sandbox::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(child).env_clear().env(DEED, deed).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap()
}

/// Not a test: the process of the other tests.
#[test]
#[ignore = "the other tests start it"]
fn child() {
    let Ok(deed) = std::env::var(DEED) else { return };
    let parent = rustix::process::getppid().unwrap();
    enter(Strictness::Required).unwrap();
    match deed.as_str() {
        "nothing" => {}
        "open" => drop(std::fs::read("/etc/hostname")),
        "list" => drop(std::fs::read_dir("/")),
        "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
        "process" => drop(Command::new("/bin/true").spawn()),
        "thread" => drop(std::thread::spawn(|| {})),
        "signal" => drop(rustix::process::kill_process(parent, rustix::process::Signal::TERM)),
        "memory" => drop(vec![1_u8; usize::try_from(MEMORY_MAX_BYTES).unwrap()]),
        "time" => loop {
            std::hint::spin_loop();
        },
        other => panic!("unknown deed {other}"),
    }
    // libtest does more at the end than the process may do.
    std::process::exit(0);
}

#[test]
fn a_process_without_rights_ends_at_the_first_forbidden_call() {
    assert_eq!(status_of("nothing").code(), Some(0));
    for deed in ["open", "list", "socket", "process", "thread", "signal"] {
        assert_eq!(status_of(deed).signal(), Some(libc::SIGSYS), "{deed}");
    }
}

#[test]
fn a_process_without_rights_has_limits_of_memory_and_time() {
    assert_eq!(status_of("memory").signal(), Some(libc::SIGABRT));
    assert_eq!(status_of("time").signal(), Some(libc::SIGKILL));
}
