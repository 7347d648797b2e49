//! A store with faults: a proxy in front of the real one that answers some requests by itself.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The store does not see it; this status and S3 code are the answer.
    Answer(u16, &'static str),
    /// The store does not see it; the answer is 200 with this body.
    Document(&'static str),
    /// The store does it, and the answer is lost.
    Lost,
    /// The store sees it after so long a time.
    After(Duration),
    /// The connection breaks when so many bytes of the answer were sent.
    CutAfter(u64),
}

/// A request to the store.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All of its head, in lower case.
    pub head: String,
}

impl Request {
    /// Tells whether its query contains `what`.
    pub fn asks(&self, what: &str) -> bool {
        self.target.split_once('?').is_some_and(|(_, query)| query.contains(what))
    }
}

type Rule = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// A running proxy; ends with the value.
pub struct StoreFront {
    addr: SocketAddr,
    rule: Arc<RwLock<Arc<Rule>>>,
    task: tokio::task::JoinHandle<()>,
}

impl StoreFront {
    /// Passes everything on to `store`, such as `http://127.0.0.1:8333`.
    ///
    /// # Panics
    /// Where no port is free.
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
                // A client that hangs up needs no answer.
                tokio::spawn(async move { drop(pass(client, &store, rule.as_ref()).await) });
            }
        });
        Self { addr, rule, task }
    }

    /// From now on requests are treated as `rule` says.
    pub fn set(&self, rule: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    /// Returns the proxy's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The argument of a role that has this one as its store.
    pub fn argument(&self) -> String {
        format!("--s3-endpoint={}", self.url())
    }
}

impl Drop for StoreFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes one request on. Tells both sides that it is the last one of its connection.
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
            Some((status, format!("<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>")))
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
            // A client that says no more may have an answer all the same.
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
