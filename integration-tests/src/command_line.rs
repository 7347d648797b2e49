//! Commands of `waybill`, run as separate processes.

use crate::Client;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use waybill_test_kit::{eventually, eventually_within, settings, signal};

/// Maximum time of a command: 1 GiB on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running `waybill` command that prints JSON. Dropping the value ends it.
pub struct CommandLine {
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
    complaints: Arc<Mutex<String>>,
}

/// Result of a command.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended the command.
    pub code: Option<i32>,
    /// Standard output: one JSON object per line.
    pub events: Vec<Value>,
    /// Standard error.
    pub complaints: String,
}

impl Ended {
    /// Returns the last event of a kind.
    ///
    /// # Panics
    /// If there is no such event.
    pub fn event(&self, kind: &str) -> &Value {
        let found = self.events.iter().rev().find(|event| event["event"] == kind);
        found.unwrap_or_else(|| panic!("no event {kind} in {self:?}"))
    }
}

impl CommandLine {
    /// Starts `waybill COMMAND --json ARGS` as the user of `client`, with the saved state in `home`.
    ///
    /// # Panics
    /// If the command cannot be started.
    pub fn start<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &str, args: &[A]) -> Self {
        Self::start_with(client, home, command, args, |_| {})
    }

    /// Like [`CommandLine::start`]; `change` can change the environment.
    ///
    /// # Panics
    /// If the command cannot be started.
    pub fn start_with<A: AsRef<OsStr>>(
        client: &Client,
        home: &Path,
        command: &str,
        args: &[A],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        Self::spawn(client, home, &[command, "--json"], args, change)
    }

    /// Like [`CommandLine::start`], without `--json`, for a command that prints only JSON.
    ///
    /// # Panics
    /// If the command cannot be started.
    pub fn start_plain<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &str, args: &[A]) -> Self {
        Self::spawn(client, home, &[command], args, |_| {})
    }

    /// Runs a command without `--json`. Returns standard output and standard error.
    ///
    /// # Panics
    /// If the command cannot be started or fails.
    pub async fn told<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &str, args: &[A]) -> (String, String) {
        let output = tokio::process::Command::from(Self::of(client, home, &[command], args)).output().await;
        let output = output.expect("WAYBILL_TEST_BIN can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }

    fn of<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &[&str], args: &[A]) -> Command {
        let mut program = Command::new(settings("WAYBILL_TEST_BIN"));
        program.args(command).args(args);
        program.env("WAYBILL_URL", client.url()).env("WAYBILL_TOKEN", client.token()).env("XDG_STATE_HOME", home);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        program
    }

    fn spawn<A: AsRef<OsStr>>(
        client: &Client,
        home: &Path,
        command: &[&str],
        args: &[A],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let mut program = Self::of(client, home, command, args);
        change(&mut program);
        let mut child = program.spawn().expect("WAYBILL_TEST_BIN can be started");
        let (events, complaints) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(String::new())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (heard, said) = (events.clone(), complaints.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout.expect("the stream is piped")).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr.expect("the stream is piped"));
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                said.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, events, complaints }
    }

    /// Waits for the first event of a kind and returns it.
    pub async fn event(&self, kind: &str) -> Value {
        eventually(&format!("the event {kind}"), || async {
            self.events().into_iter().find(|event| event["event"] == kind)
        })
        .await
    }

    /// Returns the events that the command has printed so far.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for example `INT`.
    ///
    /// # Panics
    /// If the command has already ended.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits until the command ends and returns its result.
    pub async fn ended(self) -> Ended {
        let child = Mutex::new(self);
        let code = eventually_within(PATIENCE, "a command to end", || async {
            let status = child.lock().ok()?.child.try_wait().expect("our own child can be waited for");
            status.map(|status| status.code())
        });
        let code = code.await;
        let command = child.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The reading threads end shortly after the process.
        let complete = || async { (Arc::strong_count(&command.events) == 1).then(|| command.events()) };
        let events = eventually("the last line", complete).await;
        let complaints = command.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { code, events, complaints }
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        // The command may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
