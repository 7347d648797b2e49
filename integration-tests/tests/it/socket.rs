//! A WebSocket client of `waybill.v1`.

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async, connect_async_tls_with_config};
use waybill_api::frames::ServerFrame;
use waybill_integration_tests::Client;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn connect(url: &str, headers: &[(&'static str, String)]) -> Result<Socket, u16> {
    let url = format!("{}/v1/progress", url.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// Connects over TLS and trusts only this authority.
pub(crate) async fn over_tls(client: &Client, authority: &Path) -> Socket {
    let mut roots = rustls::RootCertStore::empty();
    for cert in rustls::pki_types::CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(cert.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let url = format!("{}/v1/progress", client.url().replace("https://", "wss://"));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", client.token()).parse().unwrap());
    let connector = Some(Connector::Rustls(Arc::new(config)));
    connect_async_tls_with_config(request, None, false, connector).await.unwrap().0
}

pub(crate) async fn with_token(url: &str, client: &Client) -> Socket {
    let mut socket = connect(url, &[("authorization", format!("Bearer {}", client.token()))]).await.unwrap();
    let hello = next(&mut socket).await;
    assert_eq!((&hello["t"], &hello["heartbeat_s"]), (&json!("hello"), &json!(25)));
    socket
}

pub(crate) async fn send(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

pub(crate) async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("a frame arrives");
        match message.unwrap().unwrap() {
            Message::Text(text) => return as_described(serde_json::from_str(&text).unwrap()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Checks that the types of the API crate describe a frame completely, and returns the frame.
fn as_described(frame: Value) -> Value {
    let read: ServerFrame = serde_json::from_value(frame.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), frame);
    frame
}

/// Waits until the server closes the connection and returns the close code. Ignores frames before it.
pub(crate) async fn closed(socket: &mut Socket) -> u16 {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("a frame arrives");
        if let Message::Close(frame) = message.unwrap().unwrap() {
            return frame.unwrap().code.into();
        }
    }
}
