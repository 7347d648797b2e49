//! A minimal load balancer that distributes connections in turn, and proxies that a test can interrupt.

use crate::process::free_addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use waybill_test_kit::eventually;

/// A running balancer. Dropping the value ends it.
pub(crate) struct Balancer {
    addr: SocketAddr,
    backends: Arc<Vec<Backend>>,
    task: tokio::task::JoinHandle<()>,
}

struct Backend {
    addr: SocketAddr,
    is_out: AtomicBool,
    connections: AtomicUsize,
}

impl Balancer {
    /// Starts a balancer that distributes connections over `backends` and skips those that refuse or are taken out.
    pub(crate) async fn start(backends: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let backends = backends.into_iter().map(|addr| Backend {
            addr,
            is_out: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let backends = Arc::new(backends.collect::<Vec<_>>());
        let (balanced, turn) = (backends.clone(), AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (backends, first) = (balanced.clone(), turn.fetch_add(1, Ordering::Relaxed));
                tokio::spawn(async move {
                    for at in 0..backends.len() {
                        let backend = &backends[(first + at) % backends.len()];
                        backend.connections.fetch_add(1, Ordering::SeqCst);
                        let is_done =
                            !backend.is_out.load(Ordering::SeqCst) && carried(&mut client, backend.addr).await;
                        backend.connections.fetch_sub(1, Ordering::SeqCst);
                        if is_done {
                            return;
                        }
                    }
                });
            }
        });
        Self { addr, backends, task }
    }

    /// Opens no more connections to a backend, as an operator does before a restart, and waits for the end of the open
    /// ones.
    pub(crate) async fn take_out(&self, addr: SocketAddr) {
        for backend in self.backends.iter().filter(|backend| backend.addr == addr) {
            backend.is_out.store(true, Ordering::SeqCst);
            let open = || backend.connections.load(Ordering::SeqCst);
            eventually("the connections to end", || async { (open() == 0).then_some(()) }).await;
        }
    }

    /// Opens connections to a backend again.
    pub(crate) fn put_back(&self, addr: SocketAddr) {
        for backend in self.backends.iter().filter(|backend| backend.addr == addr) {
            backend.is_out.store(false, Ordering::SeqCst);
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// Forwards a connection until it ends. Returns `false` if the backend refuses it.
async fn carried(client: &mut TcpStream, backend: SocketAddr) -> bool {
    let Ok(mut backend) = TcpStream::connect(backend).await else { return false };
    // Both sides see the end of the connection, with or without an error.
    drop(tokio::io::copy_bidirectional(client, &mut backend).await);
    true
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// State of a [`Valve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Connections stay open and new ones are accepted, but bytes wait until the valve is open again.
    Closed,
    /// Bytes are forwarded after this time.
    Slow(Duration),
    /// Connections are closed, and new ones are refused.
    Cut,
}

/// A TCP proxy in front of one server that can stop or refuse traffic.
pub struct Valve {
    addr: SocketAddr,
    state: watch::Sender<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Valve {
    /// Starts an open proxy to `backend`, for example `http://127.0.0.1:8333`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(backend: &str) -> Self {
        let backend = backend.trim_start_matches("http://").to_owned();
        let addr = free_addr();
        let (state, mut is) = watch::channel(State::Open);
        let listener = TcpListener::bind(addr).await.expect("a port is free");
        let task = tokio::spawn(async move {
            let mut listening = Some(listener);
            loop {
                let Some(listener) = &listening else {
                    if is.wait_for(|state| *state != State::Cut).await.is_err() {
                        return;
                    }
                    listening = TcpListener::bind(addr).await.ok();
                    continue;
                };
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { return };
                        tokio::spawn(carry(client, backend.clone(), is.clone()));
                    }
                    is_cut = cut(is.clone()) => {
                        if !is_cut {
                            return;
                        }
                        listening = None;
                    }
                }
            }
        });
        Self { addr, state, task }
    }

    /// Returns the address of the proxy.
    /// Returns the address of the proxy.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops all traffic; connections stay open.
    pub fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    /// Delays all traffic.
    pub fn slow_down(&self, delay: Duration) {
        self.state.send_replace(State::Slow(delay));
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Forwards everything again, including waiting bytes.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until the valve is cut. Returns `false` if the valve was dropped.
async fn cut(mut is: watch::Receiver<State>) -> bool {
    is.wait_for(|state| *state == State::Cut).await.is_ok()
}

/// Forwards one connection until it ends or the valve is cut.
async fn carry(client: TcpStream, backend: String, is: watch::Receiver<State>) {
    let Ok(backend) = TcpStream::connect(backend).await else { return };
    let ((from_client, to_client), (from_backend, to_backend)) = (client.into_split(), backend.into_split());
    let both =
        async { tokio::join!(pass(from_client, to_backend, is.clone()), pass(from_backend, to_client, is.clone())) };
    tokio::select! {
        _ = both => {}
        _ = cut(is.clone()) => {}
    }
}

/// Forwards bytes in one direction while the valve is open, until one side ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is: watch::Receiver<State>) {
    let mut bytes = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let is_passing = |state: &State| matches!(state, State::Open | State::Slow(_));
        let Ok(passing) = is.wait_for(is_passing).await.map(|state| *state) else { return };
        if let State::Slow(delay) = passing {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
