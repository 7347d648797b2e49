//! moto, an S3 server with storage classes that must be restored.

use crate::wait::{eventually, settings};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server with its own objects, in memory.
pub struct MotoServer {
    child: Child,
    addr: SocketAddr,
}

impl MotoServer {
    /// Starts a server at a free address. An object that is restored can be read after the store was asked `asked` times whether it
    /// can.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub async fn start(addr: SocketAddr, asked: u32) -> Self {
        let child = Command::new(settings("WAYBILL_TEST_MOTO_PYTHON"))
            .args([settings("WAYBILL_TEST_MOTO"), addr.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto can be started");
        let server = Self { child, addr };
        let transition = format!(
            "{{\"model_name\": \"s3::keyrestore\", \"transition\": {{\"progression\": \"manual\", \"times\": {asked}}}}}"
        );
        eventually("moto to answer", || async {
            server.post("set-transition", &transition).await.filter(|done| *done)
        })
        .await;
        server
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Sends a request to the server's state manager. Returns `true` if it succeeded.
    async fn post(&self, path: &str, body: &str) -> Option<bool> {
        let mut socket = TcpStream::connect(self.addr).await.ok()?;
        let request = format!(
            "POST /moto-api/state-manager/{path} HTTP/1.1\r\nHost: moto\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        Some(answer.contains(" 201 ") || answer.contains(" 200 "))
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
