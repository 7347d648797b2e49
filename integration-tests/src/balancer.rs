//! A load balancer as simple as they come: connections in turn, to whoever takes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};

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
