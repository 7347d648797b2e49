//! Connections that the store closes instead of answering.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use waybill_object_store::s3::{S3Config, S3Store};
use waybill_object_store::{ObjectStore, StoreError, crc64nvme};
use waybill_test_kit::TestBucket;

/// A way to the store that can close connections with a request in them.
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
                    // Either side may hang up.
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address, to_close }
    }

    /// A client of its own each time: its first request opens a connection.
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
    let id = way.store(&bucket.config).create_multipart("b").await.unwrap();
    way.close_next(1);
    assert_eq!(way.store(&bucket.config).part("b", &id, 1).await, Ok(Vec::new()));
    way.close_next(1);
    let read = way.store(&bucket.config).get("a", 0, None).await.unwrap();
    assert_eq!(read.collect().await.unwrap(), hello);
    // Whoever sends a part counts how often it is sent.
    way.close_next(1);
    let sent = way.store(&bucket.config).upload_part("b", &id, 1, hello.clone(), crc64nvme(&hello)).await;
    assert!(matches!(sent, Err(StoreError::Unavailable { .. })), "{sent:?}");
    // A store that never answers does not hold anybody up.
    way.close_next(usize::MAX);
    assert!(matches!(way.store(&bucket.config).size("a").await, Err(StoreError::Unavailable { .. })));
}
