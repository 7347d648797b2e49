//! A Redis for one test.

use crate::free_addr;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waybill_test_kit::{eventually, settings, signal};

/// A running redis-server on loopback, with its data in its own folder. Dropping the value stops it.
pub struct RedisServer {
    addr: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl RedisServer {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start() -> Self {
        let (addr, folder) = (free_addr(), tempfile::tempdir().expect("a temporary folder can be created"));
        let server = Self { addr, child: spawn(addr, &folder), folder };
        server.ready().await;
        server
    }

    /// Returns the address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends a command, and returns the beginning of the answer.
    pub async fn command(&self, words: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(self.addr).await.ok()?;
        let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let words: Vec<String> = words.collect();
        let text = format!("*{}\r\n{}", words.len(), words.concat());
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut answer = vec![0; 64 * 1_024];
        let length = stream.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    }

    async fn ready(&self) {
        let pong = || async { self.command(&["PING"]).await.filter(|answer| answer.starts_with("+PONG")) };
        eventually("Redis to answer", pong).await;
    }

    /// Writes the data to the disk and copies them aside.
    ///
    /// # Panics
    /// Panics if the data cannot be written.
    pub async fn copy_data(&self) {
        assert_eq!(self.command(&["SAVE"]).await.as_deref(), Some("+OK\r\n"));
        let at = |name: &str| self.folder.path().join(name);
        std::fs::copy(at("dump.rdb"), at("copy.rdb")).expect("the data can be copied");
    }

    /// Returns `true` if the copied data contain the text.
    ///
    /// # Panics
    /// Panics if no data were copied.
    pub fn has_stored(&self, text: &str) -> bool {
        let data = std::fs::read(self.folder.path().join("copy.rdb")).expect("the data were copied before");
        data.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts a killed server again at the same address, with the data that were copied aside.
    ///
    /// # Panics
    /// Panics if no data were copied.
    pub async fn restart_with_copy(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::copy(at("copy.rdb"), at("dump.rdb")).expect("the data were copied before");
        self.child = spawn(self.addr, &self.folder);
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
}

fn spawn(addr: SocketAddr, folder: &TempDir) -> Child {
    Command::new(settings("WAYBILL_TEST_REDIS"))
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &addr.port().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--rdbcompression",
            "no",
        ])
        .arg("--dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server can be started")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
