//! A nats-server for one test.

use crate::signal::signal;
use crate::wait::{eventually, settings};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use waybill_event_log::jetstream::{JetStreamLog, Layout, Login, Server, provision};
use waybill_schema::Partitions;

/// User of the tests, which may do everything.
const OBSERVER: &str = "test";

/// A running nats-server with the project's configuration, on its own port and in its own folder. Dropping the value
/// stops the server.
pub struct NatsServer {
    child: Child,
    folder: TempDir,
    url: String,
    config: PathBuf,
    login: Option<Login>,
    _changed: Option<TempDir>,
}

/// Returns the password of a user in nats/users.conf.
///
/// # Panics
/// Panics if `scripts/test` has not set it.
pub fn nats_password(user: &str) -> String {
    settings(&format!("NATS_PASSWORD_{}", user.to_uppercase()))
}

impl NatsServer {
    /// Starts a server with a user for each role. The tests use another user, which may do everything.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start() -> Self {
        let login = Login { user: OBSERVER.to_owned(), password: nats_password(OBSERVER) };
        Self::spawned(Path::new(&settings("WAYBILL_TEST_NATS_USERS_CONFIG")), Some(login)).await
    }

    /// Starts a server with a user for each role and a changed configuration.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start_changed(change: impl FnOnce(String) -> String) -> Self {
        let base = std::fs::read_to_string(settings("WAYBILL_TEST_NATS_USERS_CONFIG"));
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let config = folder.path().join("nats-server.conf");
        std::fs::write(&config, change(base.expect("scripts/test has written the configuration")))
            .expect("the folder can be written");
        let login = Login { user: OBSERVER.to_owned(), password: nats_password(OBSERVER) };
        let mut server = Self::spawned(&config, Some(login)).await;
        server._changed = Some(folder);
        server
    }

    /// Changes the configuration of a server that was started with [`NatsServer::start_changed`], without a restart.
    ///
    /// # Panics
    /// Panics if the server does not accept the configuration.
    pub async fn reload(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration can be read");
        std::fs::write(&self.config, change(text)).expect("the configuration can be written");
        let before = self.log_text().len();
        signal(&self.child, "HUP");
        eventually("nats-server to reload", || async {
            let text = self.log_text().split_off(before);
            let failure = text.lines().find(|line| line.contains("Failed to reload"));
            assert_eq!(failure, None, "nats-server refuses the configuration");
            text.contains("Reloaded server configuration").then_some(())
        })
        .await;
    }

    /// Starts a server with another configuration, to which the tests connect without a login.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start_with(config: &Path) -> Self {
        Self::spawned(config, None).await
    }

    async fn spawned(config: &Path, login: Option<Login>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let child = spawn(config, folder.path(), -1);
        let url = listening_at(folder.path(), child.id(), &login).await;
        Self { child, config: config.to_owned(), folder, url, login, _changed: None }
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
        at(&self.url, &self.login).connect().await.expect("the test's nats-server answers")
    }

    /// Opens a connection as a role does, with the user of the role.
    ///
    /// # Panics
    /// Panics if the server refuses the login.
    pub async fn client_as(&self, user: &str) -> async_nats::Client {
        let login = Login { user: user.to_owned(), password: nats_password(user) };
        let server = Server { inbox_prefix: format!("_INBOX_{user}"), ..at(&self.url, &Some(login)) };
        server.connect().await.expect("the test's nats-server accepts the user")
    }

    /// Returns what the server has logged.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("nats.log")).unwrap_or_default()
    }

    /// Returns `true` if the server has logged `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log_text().contains(text)
    }

    /// Creates the streams and buckets and returns the log.
    ///
    /// # Panics
    /// Panics if the log cannot be set up.
    pub async fn log(&self, partitions: u32) -> JetStreamLog {
        let partitions = Partitions::new(partitions).expect("a valid number of partitions");
        let client = self.client().await;
        provision(&client, Layout::single(partitions)).await.expect("streams and buckets can be created");
        JetStreamLog::new(client, partitions).on(at(&self.url, &self.login))
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

    /// Returns the folder with the data of the server.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Copies the data of the server. Call [`NatsServer::kill`] first.
    ///
    /// # Panics
    /// Panics if the data cannot be copied.
    pub fn copy_data(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder can be created");
        copy_folder(&self.data(), copy.path());
        copy
    }

    /// Replaces the data of the server with a copy. Call [`NatsServer::kill`] first.
    ///
    /// # Panics
    /// Panics if the data cannot be replaced.
    pub fn restore_data(&self, copy: &TempDir) {
        let store = self.data();
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
        listening_at(self.folder.path(), self.child.id(), &self.login).await;
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

fn at(url: &str, login: &Option<Login>) -> Server {
    Server {
        url: url.to_owned(),
        name: "waybill-test",
        login: login.clone(),
        credentials_file: None,
        inbox_prefix: "_INBOX".to_owned(),
    }
}

async fn listening_at(folder: &Path, pid: u32, login: &Option<Login>) -> String {
    eventually("nats-server to write its port", || async {
        let text = std::fs::read_to_string(folder.join(format!("nats-server_{pid}.ports"))).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        let url = ports["nats"][0].as_str()?.to_owned();
        // The file is written before JetStream is ready. Only an answered connection proves that the server is up.
        let client = at(&url, login).connect().await.ok()?;
        client.flush().await.ok()?;
        Some(url)
    })
    .await
}
