//! A load balancer as simple as they come: connections in turn, to whoever takes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A running balancer; ends with the value.
pub(crate) struct Balancer {
    addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Balancer {
    /// Spreads connections over `backends`.
    pub(crate) async fn start(backends: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let (backends, turn) = (Arc::new(backends), AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (backends, first) = (backends.clone(), turn.fetch_add(1, Ordering::Relaxed));
                tokio::spawn(async move {
                    for at in 0..backends.len() {
                        if let Ok(mut backend) = TcpStream::connect(backends[(first + at) % backends.len()]).await {
                            // However it ends, both sides see it end.
                            drop(tokio::io::copy_bidirectional(&mut client, &mut backend).await);
                            return;
                        }
                    }
                });
            }
        });
        Self { addr, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A way to one server that can be closed: what is under way then waits, and arrives late.
pub struct Valve {
    addr: SocketAddr,
    open: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Valve {
    /// Opens a way to `backend`, such as `http://127.0.0.1:8333`.
    ///
    /// # Panics
    /// Where no port is free.
    pub(crate) async fn start(backend: &str) -> Self {
        let backend = backend.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let (open, is_open) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (backend, is_open) = (backend.clone(), is_open.clone());
                tokio::spawn(async move {
                    let Ok(backend) = TcpStream::connect(backend).await else { return };
                    let ((from_client, to_client), (from_backend, to_backend)) =
                        (client.into_split(), backend.into_split());
                    tokio::spawn(pass(from_client, to_backend, is_open.clone()));
                    pass(from_backend, to_client, is_open).await;
                });
            }
        });
        Self { addr, open, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Lets nothing through.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets everything through, also what waits.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands bytes on while the valve is open, until one side ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_open: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if is_open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
