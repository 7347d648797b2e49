//! A role in its own process.

use crate::authority::Authority;
use crate::stack::ready;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use uuid::Uuid;
use waybill_test_kit::{eventually, settings, signal};

/// Ports for listeners, below the range of outgoing connections.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// A running `waybill serve ROLE`. Dropping the value ends it.
pub struct Process {
    role: &'static str,
    addr: SocketAddr,
    args: Vec<String>,
    log: PathBuf,
    tls: Option<Arc<Authority>>,
    /// Additional environment variables of later starts.
    variables: Vec<(&'static str, String)>,
    child: Child,
}

impl Process {
    /// Starts a role that listens on `addr`, and waits until it is ready. `args` begin with the name of the program and
    /// the role.
    ///
    /// # Panics
    /// If the process cannot be started.
    pub async fn start(role: &'static str, addr: SocketAddr, args: Vec<String>, log: PathBuf) -> Self {
        Self::start_with(role, addr, args, log, None).await
    }

    /// Like [`Process::start`]. With an authority, the role serves with its certificate and trusts only it.
    pub(crate) async fn start_with(
        role: &'static str,
        addr: SocketAddr,
        mut args: Vec<String>,
        log: PathBuf,
        tls: Option<Arc<Authority>>,
    ) -> Self {
        args.extend(tls.iter().flat_map(|authority| authority.arguments()));
        let child = spawn(&args, &log, tls.as_deref(), &[]);
        let process = Self { role, addr, args, log, tls, variables: Vec::new(), child };
        process.ready().await;
        process
    }

    /// Returns the address on which the process listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until the process is ready.
    pub async fn ready(&self) {
        match &self.tls {
            // Clients do not reach these roles, so that they have no TLS.
            Some(authority) if !matches!(self.role, "projector" | "content") => {
                ready(&authority.http(), &format!("https://{}", self.addr)).await;
            }
            _ => ready(&reqwest::Client::new(), &format!("http://{}", self.addr)).await,
        }
    }

    /// Kills the process with SIGKILL.
    ///
    /// # Panics
    /// If the process has already ended.
    pub fn kill(&mut self) {
        assert!(matches!(self.child.try_wait(), Ok(None)), "the {} ended before it was killed", self.role);
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Starts the process again at the same address, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.args, &self.log, self.tls.as_deref(), &self.variables);
        self.ready().await;
    }

    /// Sets an environment variable of the process for later starts.
    pub fn set_variable(&mut self, name: &'static str, value: String) {
        self.variables.push((name, value));
    }

    /// Stops the process as an operator does, and starts it again with other arguments. Arguments in `replaced` replace
    /// those with the same name.
    pub async fn restart_with(&mut self, replaced: &[String]) {
        self.terminate().await;
        let name = |arg: &String| arg.split('=').next().map(str::to_owned);
        self.args.retain(|arg| !replaced.iter().any(|other| name(other) == name(arg)));
        self.args.extend_from_slice(replaced);
        self.restart().await;
    }

    /// Stops the process with SIGSTOP: connections stay open, and requests get no answer.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Resumes the process with SIGCONT.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Sends SIGTERM and waits for the end. Returns the exit status and the time that it took.
    pub async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        signal(&self.child, "TERM");
        let child = std::sync::Mutex::new(&mut self.child);
        let status = eventually("a process to end after SIGTERM", || async {
            child.lock().ok()?.try_wait().expect("our own child can be waited for")
        });
        (status.await, began.elapsed())
    }

    /// Returns `true` if the log contains `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    /// Returns the resident memory of the process in bytes.
    ///
    /// # Panics
    /// If the process does not run.
    pub fn rss_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
        kib.expect("/proc has VmRSS") * 1_024
    }

    /// Returns the value of a metric; 0 if the process has no metric with this name.
    pub async fn metric(&self, name: &str) -> u64 {
        let answer = reqwest::get(format!("http://{}/metrics", self.addr)).await.expect("metrics are answered");
        let text = answer.text().await.expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(args: &[String], log: &PathBuf, authority: Option<&Authority>, variables: &[(&'static str, String)]) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log can be written");
    let mut command = Command::new(settings("WAYBILL_TEST_BIN"));
    command.arg("serve").args(&args[1..]).stdin(Stdio::null()).stderr(log.try_clone().expect("a log can be shared"));
    // Variables of the developer's shell must not reach the process.
    let is_setting = |name: &str| name.starts_with("WAYBILL_") && name != "WAYBILL_LOG" || name.starts_with("AWS_");
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", authority.file("ca.pem"));
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdout(log).spawn().expect("WAYBILL_TEST_BIN can be started")
}

/// Returns a free address on loopback. No other test gets the same one, also while the process that listens on it is
/// restarted.
///
/// # Panics
/// If no port is free.
pub fn free_addr() -> SocketAddr {
    static FIRST: LazyLock<usize> = LazyLock::new(|| Uuid::new_v4().as_u128() as usize % PORTS.len());
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    (0..1_000)
        .find_map(|_| {
            let number = (*FIRST + TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS.len();
            let port = PORTS.start + u16::try_from(number).ok()?;
            TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
        })
        .expect("a port is free")
}
