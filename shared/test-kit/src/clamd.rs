//! A clamd for one test.

use crate::signal::signal;
use crate::wait::{eventually, settings};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A running clamd that knows only the EICAR test file and [`MARKER`], on a Unix socket in its own folder. Dropping the value stops it.
pub struct ClamdServer {
    child: Child,
    folder: TempDir,
}

/// Returns the EICAR test file, which every virus scanner reports. It is built from two halves, so that no scanner finds it
/// in this repository.
pub fn eicar() -> Vec<u8> {
    let halves = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];
    halves.concat().into_bytes()
}

/// Bytes that the servers of tests find anywhere in a file.
pub const MARKER: &[u8] = b"a marker that only the virus scanner of the tests reports";

/// Maximum length of a stream in bytes, and of a file that the servers of tests scan.
const STREAM_MAX: &str = "StreamMaxLength 4M\nMaxFileSize 2M\nMaxScanSize 8M\n";

impl ClamdServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("database")).expect("the folder can be written");
        std::fs::create_dir(at("tmp")).expect("the folder can be written");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // The EICAR file is only found as a whole file, also in an archive, and the marker anywhere.
        let signatures = format!("Eicar-Test:0:0:{}\nMarker-Test:0:*:{}\n", hex(&eicar()), hex(MARKER));
        std::fs::write(at("database/tests.ndb"), signatures).expect("the folder can be written");
        let config = format!(
            "Foreground yes\nDatabaseDirectory {database}\nLocalSocket {socket}\nTemporaryDirectory {tmp}\n\
             PidFile {pid}\nMaxThreads 16\nMaxQueue 64\nAlertExceedsMax yes\nAlertEncrypted yes\nSelfCheck 0\n\
             ReadTimeout 30\nCommandReadTimeout 10\n{STREAM_MAX}",
            database = at("database").display(),
            socket = at("socket").display(),
            tmp = at("tmp").display(),
            pid = at("pid").display(),
        );
        std::fs::write(at("clamd.conf"), config).expect("the folder can be written");
        let server = Self { child: spawn(&folder), folder };
        server.ready().await;
        server
    }

    /// Returns the path of the socket.
    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the value of `WAYBILL_CLAMD`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Sends a command without waiting for its effect. Returns the beginning of the answer.
    pub async fn command(&self, name: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.socket()).await.ok()?;
        socket.write_all(format!("z{name}\0").as_bytes()).await.ok()?;
        let mut answer = [0; 64];
        let length = socket.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).trim_end_matches('\0').to_owned())
    }

    async fn ready(&self) {
        eventually("clamd to answer", || async { self.command("PING").await.filter(|answer| answer == "PONG") }).await;
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts a killed server again, at the same address.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.folder);
        self.ready().await;
    }

    /// Stops the server with SIGSTOP: it accepts connections and does not answer.
    pub fn hang(&self) {
        signal(&self.child, "STOP");
    }

    /// Resumes the server with SIGCONT.
    pub fn go_on(&self) {
        signal(&self.child, "CONT");
    }

    /// Takes the server's folder for temporary files away, so that it fails as with a full disk; or gives it back.
    ///
    /// # Panics
    /// Panics if the folder cannot be moved.
    pub fn set_has_disk(&self, has_disk: bool) {
        let (disk, away) = (self.folder.path().join("tmp"), self.folder.path().join("away"));
        let (from, to) = if has_disk { (away, disk) } else { (disk, away) };
        std::fs::rename(from, to).expect("the folder can be moved");
    }
}

fn spawn(folder: &TempDir) -> Child {
    // A socket of a killed server would keep the next one from starting.
    drop(std::fs::remove_file(folder.path().join("socket")));
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("clamd.log"));
    Command::new(settings("WAYBILL_TEST_CLAMD"))
        .arg("--config-file")
        .arg(folder.path().join("clamd.conf"))
        .stdin(Stdio::null())
        .stdout(log.expect("the folder can be written"))
        .stderr(Stdio::null())
        .spawn()
        .expect("clamd can be started")
}

impl Drop for ClamdServer {
    fn drop(&mut self) {
        self.kill();
    }
}
