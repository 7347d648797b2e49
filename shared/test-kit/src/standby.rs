//! A streaming replica of the PostgreSQL of the tests.

use crate::signal::signal;
use crate::wait::{eventually, settings};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running streaming replica. Dropping the value stops it.
pub struct StandbyServer {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl StandbyServer {
    /// Copies the PostgreSQL of the tests, and starts a replica of it at `port`.
    ///
    /// # Panics
    /// Panics if the server cannot be copied or does not start.
    pub async fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let user = user();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("root can give a folder away");
        }
        let data = folder.path().join("data");
        let copied = program("pg_basebackup")
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync", "--pgdata"])
            .arg(&data)
            .args(["--dbname", &settings("WAYBILL_TEST_DATABASE_URL")])
            .output()
            .expect("pg_basebackup can be run");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        let child = spawn(&folder, port);
        let standby = Self { folder, port, child };
        standby.ready().await;
        standby
    }

    /// Returns the URL of a database of the tests on the replica, given its URL on the primary.
    ///
    /// # Panics
    /// Panics if `url` has no port.
    pub fn url_of(&self, url: &str) -> String {
        let (login, place) = url.rsplit_once('@').expect("the URL has a user");
        let (_, name) = place.split_once('/').expect("the URL names a database");
        format!("{login}@127.0.0.1:{}/{name}", self.port)
    }

    async fn ready(&self) {
        let url = self.url_of(&settings("WAYBILL_TEST_DATABASE_URL"));
        eventually("the replica to answer", || async { AsyncPgConnection::establish(&url).await.ok().map(drop) }).await;
    }

    async fn execute(&self, statement: &str) {
        let url = self.url_of(&settings("WAYBILL_TEST_DATABASE_URL"));
        let mut connection = AsyncPgConnection::establish(&url).await.expect("the replica answers");
        connection.batch_execute(statement).await.expect("the statement is accepted");
    }

    /// Stops following the primary, so that the lag grows.
    pub async fn pause(&self) {
        self.execute("SELECT pg_wal_replay_pause()").await;
    }

    /// Follows the primary again.
    pub async fn resume(&self) {
        self.execute("SELECT pg_wal_replay_resume()").await;
    }

    /// Stops the server with SIGSTOP: it accepts connections and does not answer.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Resumes the server with SIGCONT.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Stops the server.
    pub fn stop(&mut self) {
        // SIGQUIT ends all of its processes without waiting for clients.
        signal(&self.child, "QUIT");
        drop(self.child.wait());
    }

    /// Starts a stopped server again.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.folder, self.port);
        self.ready().await;
    }
}

/// Returns the user and the group for PostgreSQL, which does not run as root.
fn user() -> Option<(u32, u32)> {
    let text = settings("WAYBILL_TEST_PG_USER");
    let (uid, gid) = text.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

fn program(name: &str) -> Command {
    let mut command = Command::new(format!("{}/{name}", settings("WAYBILL_TEST_PG_BINDIR")));
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn spawn(folder: &TempDir, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log"));
    let log = log.expect("the folder can be written");
    program("postgres")
        .arg("-D")
        .arg(folder.path().join("data"))
        // As many connections as the primary has at most.
        .args(["--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--max_connections=300", "--fsync=off"])
        .arg(format!("--port={port}"))
        .stdout(log.try_clone().expect("a log can be shared"))
        .stderr(log)
        .spawn()
        .expect("postgres can be started")
}

impl Drop for StandbyServer {
    fn drop(&mut self) {
        drop(Command::new("kill").arg("-QUIT").arg(self.child.id().to_string()).status());
        drop(Command::new("kill").arg("-CONT").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}
