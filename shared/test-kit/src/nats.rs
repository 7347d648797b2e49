//! A nats-server of one test.

use crate::signal::signal;
use crate::wait::{eventually, settings};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use waybill_event_log::jetstream::{JetStreamLog, Layout, Server, provision};
use waybill_schema::Partitions;

/// A running nats-server with the project's configuration, on a port and in a folder of its own. Ends with the value.
pub struct NatsServer {
    child: Child,
    folder: TempDir,
    url: String,
    config: PathBuf,
}

impl NatsServer {
    /// Starts one.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start() -> Self {
        Self::start_with(Path::new(&settings("WAYBILL_TEST_NATS_CONFIG"))).await
    }

    /// Starts one with another configuration.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn start_with(config: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let child = spawn(config, folder.path(), -1);
        let url = listening_at(folder.path(), child.id()).await;
        Self { child, config: config.to_owned(), folder, url }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection.
    ///
    /// # Panics
    /// Where it does not answer.
    pub async fn client(&self) -> async_nats::Client {
        at(&self.url).connect().await.expect("the test's nats-server answers")
    }

    /// A log with everything provisioned.
    ///
    /// # Panics
    /// Where it cannot be set up.
    pub async fn log(&self, partitions: u32) -> JetStreamLog {
        let partitions = Partitions::new(partitions).expect("a valid number of partitions");
        let client = self.client().await;
        provision(&client, Layout::single(partitions)).await.expect("streams and buckets can be made");
        JetStreamLog::new(client, partitions).on(at(&self.url))
    }

    /// Lets it hang: connections stay open, and nothing is answered.
    ///
    /// # Panics
    /// Where it cannot be stopped.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// Where it cannot be continued.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Kills it, as a crash would, and starts it again.
    ///
    /// # Panics
    /// Where it does not start again.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    /// Where it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// A copy of its data. It must have been killed.
    ///
    /// # Panics
    /// Where they cannot be copied.
    pub fn copy_data(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder can be made");
        copy_folder(&self.folder.path().join("store"), copy.path());
        copy
    }

    /// Replaces its data with a copy. It must have been killed.
    ///
    /// # Panics
    /// Where they cannot be replaced.
    pub fn restore_data(&self, copy: &TempDir) {
        let store = self.folder.path().join("store");
        std::fs::remove_dir_all(&store).expect("the test's own data can be removed");
        copy_folder(copy.path(), &store);
    }

    /// Starts it again on the same port with the same data.
    ///
    /// # Panics
    /// Where it does not start again.
    pub async fn restart(&mut self) {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL has a port");
        self.child = spawn(&self.config, self.folder.path(), port);
        listening_at(self.folder.path(), self.child.id()).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // One that has ended by itself needs no ending.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of the test can be made");
    for entry in std::fs::read_dir(from).expect("the test's own data can be read") {
        let entry = entry.expect("the test's own data can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the test's own data can be copied");
        }
    }
}

fn spawn(config: &Path, folder: &Path, port: i32) -> Child {
    Command::new(settings("WAYBILL_TEST_NATS_SERVER"))
        .arg("--config")
        .arg(config)
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .arg("--store_dir")
        .arg(folder.join("store"))
        .arg("--ports_file_dir")
        .arg(folder)
        .arg("--log")
        .arg(folder.join("nats.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("WAYBILL_TEST_NATS_SERVER can be started")
}

fn at(url: &str) -> Server {
    Server { url: url.to_owned(), name: "waybill-test", credentials_file: None }
}

async fn listening_at(folder: &Path, pid: u32) -> String {
    eventually("nats-server to say where it listens", || async {
        let text = std::fs::read_to_string(folder.join(format!("nats-server_{pid}.ports"))).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        let url = ports["nats"][0].as_str()?.to_owned();
        // Said before JetStream is up: a connection that is answered is the proof.
        let client = at(&url).connect().await.ok()?;
        client.flush().await.ok()?;
        Some(url)
    })
    .await
}
