//! A store with faults: a proxy in front of the real store that answers some requests itself.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// Treatment of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The proxy answers with this status and S3 error code, and does not forward the request.
    Answer(u16, &'static str),
    /// The proxy answers 200 with this body, and does not forward the request.
    Document(&'static str),
    /// The store handles the request, and the answer is lost.
    Lost,
    /// The proxy forwards the request after this time.
    After(Duration),
    /// The connection breaks after this many bytes of the answer.
    CutAfter(u64),
}

/// A request to the store.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query.
    pub target: String,
    /// The complete head, in lower case.
    pub head: String,
}

impl Request {
    /// Returns `true` if the query contains `what`.
    pub fn asks(&self, what: &str) -> bool {
        self.target.split_once('?').is_some_and(|(_, query)| query.contains(what))
    }
}

type Rule = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// A running proxy. Dropping the value ends it.
pub struct StoreFront {
    addr: SocketAddr,
    rule: Arc<RwLock<Arc<Rule>>>,
    task: tokio::task::JoinHandle<()>,
}

impl StoreFront {
    /// Starts a proxy that forwards all requests to `store`, for example `http://127.0.0.1:8333`.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(store: &str) -> Self {
        let store = store.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let none: Arc<Rule> = Arc::new(|_| None);
        let rule = Arc::new(RwLock::new(none));
        let rules = rule.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (store, rule) = (store.clone(), rules.read().unwrap_or_else(PoisonError::into_inner).clone());
                // A client that disconnects needs no answer.
                tokio::spawn(async move { drop(pass(client, &store, rule.as_ref()).await) });
            }
        });
        Self { addr, rule, task }
    }

    /// Applies `rule` to all following connections.
    pub fn set(&self, rule: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    /// Returns the proxy's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the argument with which a role uses this proxy as its store.
    pub fn argument(&self) -> String {
        format!("--s3-endpoint={}", self.url())
    }
}

impl Drop for StoreFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards one request. Sets `Connection: close`, so that each connection has one request only.
async fn pass(mut client: TcpStream, store: &str, rule: &Rule) -> std::io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if client.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let mut words = std::str::from_utf8(&read[..end]).unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fault = rule(&Request { method, target, head: head.clone() });
    let answer = match fault {
        Some(Fault::Answer(status, code)) => {
            Some((status, format!("<Error><Code>{code}</Code><Message>a fault of the test</Message></Error>")))
        }
        Some(Fault::Document(body)) => Some((200, body.to_owned())),
        _ => None,
    };
    if let Some((status, body)) = answer {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut left = length.unwrap_or(0).saturating_sub(read.len() - end);
        while left > 0 {
            left = left.saturating_sub(client.read(&mut vec![0; left.min(65_536)]).await?.max(1));
        }
        let length = body.len();
        let head = format!("HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await?;
        client.write_all(body.as_bytes()).await?;
        return client.shutdown().await;
    }
    if let Some(Fault::After(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let mut server = TcpStream::connect(store).await?;
    server.write_all(&read[..end - 2]).await?;
    server.write_all(b"Connection: close\r\n\r\n").await?;
    server.write_all(&read[end..]).await?;
    if matches!(fault, Some(Fault::Lost)) {
        let (mut from_client, _to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut answer = Vec::new();
        let pass_on = async {
            drop(tokio::io::copy(&mut from_client, &mut to_server).await);
            // A client that has sent everything still waits for the answer.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = pass_on => {}
            read = from_server.read_to_end(&mut answer) => drop(read?),
        }
        return Ok(());
    }
    if let Some(Fault::CutAfter(bytes)) = fault {
        return tokio::io::copy(&mut server.take(bytes), &mut client).await.map(drop);
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
