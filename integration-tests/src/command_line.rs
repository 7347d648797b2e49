//! The client commands, as a user's process.

use crate::Client;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use waybill_test_kit::{eventually, eventually_within, settings, signal};

/// How long a gibibyte may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A `waybill` command with `--json` that runs. Ends with the value.
pub struct CommandLine {
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
    complaints: Arc<Mutex<String>>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed, one object a line.
    pub events: Vec<Value>,
    /// What it complained about.
    pub complaints: String,
}

impl Ended {
    /// The last event of a kind.
    ///
    /// # Panics
    /// Where there is none.
    pub fn event(&self, kind: &str) -> &Value {
        let found = self.events.iter().rev().find(|event| event["event"] == kind);
        found.unwrap_or_else(|| panic!("no event {kind} in {self:?}"))
    }
}

impl CommandLine {
    /// Starts `waybill COMMAND --json ARGS` as the user of `client`, who keeps what is remembered in `home`.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &str, args: &[A]) -> Self {
        Self::start_with(client, home, command, args, |_| {})
    }

    /// The same, with an environment that `change` changes.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start_with<A: AsRef<OsStr>>(
        client: &Client,
        home: &Path,
        command: &str,
        args: &[A],
        change: impl FnOnce(&mut Command),
    ) -> Self {
        Self::spawn(client, home, &[command, "--json"], args, change)
    }

    /// The same, of a command that prints nothing but JSON.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start_plain<A: AsRef<OsStr>>(client: &Client, home: &Path, command: &str, args: &[A]) -> Self {
        Self::spawn(client, home, &[command], args, |_| {})
    }

    /// What it prints for people: on standard output, and on standard error.
    ///
    /// # Panics
    /// Where it cannot be started, or fails.
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
            for line in BufReader::new(stdout.expect("it is piped")).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr.expect("it is piped"));
            let mut bytes = [0; 4_096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                said.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, events, complaints }
    }

    /// The first event of a kind, waited for.
    pub async fn event(&self, kind: &str) -> Value {
        eventually(&format!("the event {kind}"), || async {
            self.events().into_iter().find(|event| event["event"] == kind)
        })
        .await
    }

    /// What it printed until now.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A signal, by its name.
    ///
    /// # Panics
    /// Where it has ended by itself.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Until it ends.
    pub async fn ended(self) -> Ended {
        let child = Mutex::new(self);
        let code = eventually_within(PATIENCE, "a command to end", || async {
            let status = child.lock().ok()?.child.try_wait().expect("our own child can be waited for");
            status.map(|status| status.code())
        });
        let code = code.await;
        let command = child.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The readers come to the ends of their pipes right after the process.
        let complete = || async { (Arc::strong_count(&command.events) == 1).then(|| command.events()) };
        let events = eventually("the last line", complete).await;
        let complaints = command.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ended { code, events, complaints }
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        // One that has ended by itself needs no ending.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
