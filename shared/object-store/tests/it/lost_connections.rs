//! Tests with connections that the store closes instead of answering.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use waybill_object_store::s3::{S3Config, S3Store};
use waybill_object_store::{Crc, ObjectStore, StoreError, crc64nvme};
use waybill_test_kit::TestBucket;

/// A proxy to the store that can close connections after it has received a request.
struct Way {
    address: String,
    to_close: Arc<AtomicUsize>,
}

impl Way {
    async fn to(store: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let to_close = Arc::new(AtomicUsize::new(0));
        let (store, closes) = (store.trim_start_matches("http://").to_owned(), to_close.clone());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (store, closes) = (store.clone(), closes.clone());
                tokio::spawn(async move {
                    let mut first = vec![0; 64 * 1_024];
                    let read = client.read(&mut first).await.unwrap_or(0);
                    let one_less = |left: usize| left.checked_sub(1);
                    if closes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
                        return;
                    }
                    let mut server = TcpStream::connect(store).await.unwrap();
                    server.write_all(&first[..read]).await.unwrap();
                    // Errors are ignored, because either side may close its connection.
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address, to_close }
    }

    /// Returns a new client, whose first request opens a connection.
    fn store(&self, config: &S3Config) -> S3Store {
        S3Store::new(&S3Config { endpoint: Some(format!("http://{}", self.address)), ..config.clone() })
    }

    fn close_next(&self, connections: usize) {
        self.to_close.store(connections, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_request_is_sent_again_when_its_connection_breaks() {
    let bucket = TestBucket::create().await;
    let way = Way::to(bucket.config.endpoint.as_ref().unwrap()).await;
    let hello = Bytes::from_static(b"hello");
    way.close_next(2);
    way.store(&bucket.config).put("a", hello.clone(), crc64nvme(&hello)).await.unwrap();
    way.close_next(1);
    assert_eq!(way.store(&bucket.config).size("a").await, Ok(Some(5)));
    way.close_next(1);
    let id = way.store(&bucket.config).create_multipart("b", Some(Crc::Crc64Nvme)).await.unwrap();
    way.close_next(1);
    assert_eq!(way.store(&bucket.config).part("b", &id, 1).await, Ok(Vec::new()));
    way.close_next(1);
    let read = way.store(&bucket.config).get("a", 0, None).await.unwrap();
    assert_eq!(read.collect().await.unwrap(), hello);
    // Parts are not sent again, because their sender counts how often they are sent.
    way.close_next(1);
    let sent = way.store(&bucket.config).upload_part("b", &id, 1, hello.clone(), crc64nvme(&hello)).await;
    assert!(matches!(sent, Err(StoreError::Unavailable { .. })), "{sent:?}");
    // A request fails if the store never answers; it does not hang.
    way.close_next(usize::MAX);
    assert!(matches!(way.store(&bucket.config).size("a").await, Err(StoreError::Unavailable { .. })));
}

/// Answers each request on one connection with an object of 5 bytes. From the second request on it waits for `go_on`
/// first.
async fn one_connection(listener: TcpListener, seen: tokio::sync::mpsc::Sender<()>, go_on: Arc<tokio::sync::Notify>) {
    let (mut client, _) = listener.accept().await.unwrap();
    drop(listener);
    for number in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        seen.send(()).await.unwrap();
        if number > 0 {
            go_on.notified().await;
        }
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_10_the_end_of_a_thread_ends_no_request_of_another() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (seen, mut requests) = tokio::sync::mpsc::channel(8);
    let go_on = Arc::new(tokio::sync::Notify::new());
    tokio::spawn(one_connection(listener, seen, go_on.clone()));
    let store = S3Store::new(&S3Config { endpoint: Some(endpoint), ..TestBucket::create().await.config });
    // A thread with its own runtime, like those of a server, opens the connection.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn({
        let store = store.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                opened.send(store.size("a").await).unwrap();
                ended.await.unwrap();
            });
        }
    });
    assert_eq!(is_open.await.unwrap(), Ok(Some(5)));
    requests.recv().await.unwrap();
    let asking = tokio::spawn(async move { store.size("b").await });
    requests.recv().await.unwrap();
    end.send(()).unwrap();
    thread.join().unwrap();
    go_on.notify_one();
    assert_eq!(asking.await.unwrap(), Ok(Some(5)));
}
