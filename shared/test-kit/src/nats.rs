//! A nats-server for one test.

use crate::signal::signal;
use crate::wait::{eventually, settings};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use waybill_event_log::jetstream::{JetStreamLog, Layout, Server, provision};
use waybill_schema::Partitions;

/// A running nats-server with the project's configuration, on its own port and in its own folder. Dropping the value
/// stops the server.
pub struct NatsServer {
    child: Child,
    folder: TempDir,
    url: String,
    config: PathBuf,
}

impl NatsServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start() -> Self {
        Self::start_with(Path::new(&settings("WAYBILL_TEST_NATS_CONFIG"))).await
    }

    /// Starts a server with another configuration.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start_with(config: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let child = spawn(config, folder.path(), -1);
        let url = listening_at(folder.path(), child.id()).await;
        Self { child, config: config.to_owned(), folder, url }
    }

    /// Returns the URL at which the server listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens a connection.
    ///
    /// # Panics
    /// Panics if the server does not answer.
    pub async fn client(&self) -> async_nats::Client {
        at(&self.url).connect().await.expect("the test's nats-server answers")
    }

    /// Creates the streams and buckets and returns the log.
    ///
    /// # Panics
    /// Panics if the log cannot be set up.
    pub async fn log(&self, partitions: u32) -> JetStreamLog {
        let partitions = Partitions::new(partitions).expect("a valid number of partitions");
        let client = self.client().await;
        provision(&client, Layout::single(partitions)).await.expect("streams and buckets can be created");
        JetStreamLog::new(client, partitions).on(at(&self.url))
    }

    /// Suspends the server: connections stay open, but the server does not answer.
    ///
    /// # Panics
    /// Panics if the server cannot be suspended.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Resumes the server after [`NatsServer::hang`].
    ///
    /// # Panics
    /// Panics if the server cannot be resumed.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Kills the server, as a crash would, and starts it again.
    ///
    /// # Panics
    /// Panics if the server does not start again.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    /// Kills the server, as a crash would.
    ///
    /// # Panics
    /// Panics if the server cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child process can be killed");
        self.child.wait().expect("a child process can be waited for");
    }

    /// Copies the data of the server. Call [`NatsServer::kill`] first.
    ///
    /// # Panics
    /// Panics if the data cannot be copied.
    pub fn copy_data(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder can be created");
        copy_folder(&self.folder.path().join("store"), copy.path());
        copy
    }

    /// Replaces the data of the server with a copy. Call [`NatsServer::kill`] first.
    ///
    /// # Panics
    /// Panics if the data cannot be replaced.
    pub fn restore_data(&self, copy: &TempDir) {
        let store = self.folder.path().join("store");
        std::fs::remove_dir_all(&store).expect("the test's own data can be removed");
        copy_folder(copy.path(), &store);
    }

    /// Starts the server again, on the same port and with the same data.
    ///
    /// # Panics
    /// Panics if the server does not start again.
    pub async fn restart(&mut self) {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL has a port");
        self.child = spawn(&self.config, self.folder.path(), port);
        listening_at(self.folder.path(), self.child.id()).await;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Errors are ignored: the server may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder of the test can be created");
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
    eventually("nats-server to write its port", || async {
        let text = std::fs::read_to_string(folder.join(format!("nats-server_{pid}.ports"))).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        let url = ports["nats"][0].as_str()?.to_owned();
        // The file is written before JetStream is ready. Only an answered connection proves that the server is up.
        let client = at(&url).connect().await.ok()?;
        client.flush().await.ok()?;
        Some(url)
    })
    .await
}
