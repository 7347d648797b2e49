//! A process that gave up its rights, and then does what it may not.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use waybill_render::limits::MEMORY_MAX_BYTES;
use waybill_render::sandbox::{Strictness, enter, enter_for};

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
    let mut inherited = std::fs::File::open("/usr/bin/env").unwrap();
    let deed = match deed.strip_prefix("program ") {
        None => {
            enter(Strictness::Required).unwrap();
            deed.as_str()
        }
        Some(deed) => {
            enter_for(Path::new("/opt/program"), Strictness::Required).unwrap();
            deed
        }
    };
    match deed {
        "nothing" => {}
        "open" => drop(std::fs::read("/etc/hostname")),
        "read another descriptor" => drop(inherited.read(&mut [0])),
        "list" => drop(std::fs::read_dir("/")),
        "socket" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
        "process" => drop(Command::new("/bin/true").spawn()),
        "thread" => std::thread::spawn(|| {}).join().unwrap(),
        "read a program" => drop(std::fs::read("/usr/bin/env").unwrap()),
        "read a setting" => drop(std::fs::read("/etc/passwd").unwrap_err()),
        "write" => drop(std::fs::write("/tmp/waybill-render", "x").unwrap_err()),
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
    for deed in ["open", "read another descriptor", "list", "socket", "process", "thread", "signal"] {
        assert_eq!(status_of(deed).signal(), Some(libc::SIGSYS), "{deed}");
    }
}

#[test]
fn a_program_of_the_operator_reads_programs_and_has_threads_and_nothing_else() {
    for deed in ["nothing", "read a program", "read a setting", "write", "thread"] {
        assert_eq!(status_of(&format!("program {deed}")).code(), Some(0), "{deed}");
    }
    for deed in ["socket", "process", "signal"] {
        assert_eq!(status_of(&format!("program {deed}")).signal(), Some(libc::SIGSYS), "{deed}");
    }
}

#[test]
fn a_process_without_rights_has_limits_of_memory_and_time() {
    assert_eq!(status_of("memory").signal(), Some(libc::SIGABRT));
    assert_eq!(status_of("time").signal(), Some(libc::SIGXCPU));
}
