//! A role as a process of its own.

use crate::stack::ready;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_test_kit::{eventually, settings, signal};

/// Below the range that outgoing connections take their ports from.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// A running `waybill serve ROLE`. Ends with the value.
pub struct Process {
    role: &'static str,
    addr: SocketAddr,
    args: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a role that listens on `addr`; `args` begin with the program's name and the role.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub async fn start(role: &'static str, addr: SocketAddr, args: Vec<String>, log: PathBuf) -> Self {
        let child = spawn(&args, &log);
        let process = Self { role, addr, args, log, child };
        process.ready().await;
        process
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Until it is ready.
    pub async fn ready(&self) {
        ready(&format!("http://{}", self.addr)).await;
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// Where it has ended by itself.
    pub fn kill(&mut self) {
        assert!(matches!(self.child.try_wait(), Ok(None)), "the {} runs until it is killed", self.role);
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Starts it again, where it was.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.args, &self.log);
        self.ready().await;
    }

    /// Lets it hang: connections stay open, and nothing is answered.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// SIGTERM; answers with how it ended, and after what time.
    pub async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        signal(&self.child, "TERM");
        let child = std::sync::Mutex::new(&mut self.child);
        let status = eventually("a process to end after SIGTERM", || async {
            child.lock().ok()?.try_wait().expect("our own child can be waited for")
        });
        (status.await, began.elapsed())
    }

    /// Whether it logged this.
    pub fn has_logged(&self, text: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    /// Bytes of memory that it holds now.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn rss_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
        kib.expect("the kernel says how much it holds") * 1_024
    }

    /// One of its metrics; 0 where it has none of that name.
    pub async fn metric(&self, name: &str) -> u64 {
        let answer = reqwest::get(format!("http://{}/metrics", self.addr)).await.expect("metrics are answered");
        let text = answer.text().await.expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself needs no ending.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(args: &[String], log: &PathBuf) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log can be written");
    let mut command = Command::new(settings("WAYBILL_TEST_BIN"));
    command.arg("serve").args(&args[1..]).stdin(Stdio::null()).stderr(log.try_clone().expect("a log can be shared"));
    // What the developer's shell has set is not to reach it.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WAYBILL_") && name != "WAYBILL_LOG") {
        command.env_remove(name);
    }
    command.stdout(log).spawn().expect("WAYBILL_TEST_BIN can be started")
}

/// An address on loopback that is free now.
///
/// # Panics
/// Where none is.
pub fn free_addr() -> SocketAddr {
    (0..1_000)
        .find_map(|_| {
            let number = u16::try_from(Uuid::now_v7().as_u128() % PORTS.len() as u128).ok()?;
            let listener = TcpListener::bind(("127.0.0.1", PORTS.start + number)).ok()?;
            listener.local_addr().ok()
        })
        .expect("a port is free")
}
