//! A client of the resumable protocols that gives tests control of every header, and shows the complete answers.

use reqwest::header::HeaderMap;
use reqwest::{Body, Method};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use waybill_integration_tests::Client;

/// Headers of one request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// A client of one protocol: adds the headers of the protocol and the access token to every request.
pub(crate) struct Speaker {
    pub(crate) client: Client,
    always: Vec<(&'static str, String)>,
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts the status and returns the answer.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }

    /// Asserts that the answer has a header with this value, and returns it.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} of {} {:?}", self.status, self.headers);
        self
    }

    /// Asserts that the answer does not have this header, and returns it.
    pub(crate) fn without(self, name: &str) -> Self {
        assert_eq!(self.header(name), None, "{name} of {} {:?}", self.status, self.headers);
        self
    }

    /// Returns the `Location` of a created upload.
    pub(crate) fn location(&self) -> String {
        self.header("Location").expect("the answer has Location").to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Asserts that the answer is a problem with this status and code, and returns it.
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{:?}", self.headers);
        self
    }
}

/// Returns the id of the upload at a path.
pub(crate) fn id_of(location: &str) -> String {
    location.rsplit('/').next().unwrap().to_owned()
}

impl Speaker {
    /// Returns a client of tus 1.0.0.
    pub(crate) fn tus(client: Client) -> Self {
        Self { client, always: vec![("Tus-Resumable", "1.0.0".to_owned())] }
    }

    /// Returns a client of the IETF draft with this interop version.
    pub(crate) fn draft(client: Client, version: u32) -> Self {
        Self { client, always: vec![("Upload-Draft-Interop-Version", version.to_string())] }
    }

    /// Returns a client that adds only the access token.
    pub(crate) fn plain(client: Client) -> Self {
        Self { client, always: Vec::new() }
    }

    /// Sends a request. `headers` replace the headers of the protocol.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: Headers<'_>, body: impl Into<Body>) -> Reply {
        self.try_send(method, path, headers, body).await.expect("an answer arrives")
    }

    /// Like [`Speaker::send`], but returns an error if the connection breaks: a server that refuses a request does not
    /// wait for all of a long body.
    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Body>,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.client.request(method, path);
        let said = |name: &str| headers.iter().any(|(said, _)| said.eq_ignore_ascii_case(name));
        for (name, value) in self.always.iter().filter(|(name, _)| !said(name)) {
            request = request.header(*name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// tus: sends a PATCH while servers may die. Returns `true` if the bytes were accepted.
    pub(crate) async fn is_taken(&self, path: &str, offset: usize, bytes: Vec<u8>) -> bool {
        let offset = offset.to_string();
        let headers = [("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        let answer = self.try_send(Method::PATCH, path, &headers, bytes).await;
        answer.is_ok_and(|reply| reply.status == 204)
    }

    pub(crate) async fn options(&self, path: &str, headers: Headers<'_>) -> Reply {
        self.send(Method::OPTIONS, path, headers, "").await
    }

    pub(crate) async fn post(&self, headers: Headers<'_>, body: impl Into<Body>) -> Reply {
        self.send(Method::POST, "/tus/", headers, body).await
    }

    pub(crate) async fn head(&self, path: &str) -> Reply {
        self.send(Method::HEAD, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], "").await
    }

    /// tus: creates an upload of this length and returns its path.
    pub(crate) async fn create(&self, length: usize) -> String {
        self.post(&[("Upload-Length", &length.to_string())], "").await.expect(201).location()
    }

    /// tus: sends a PATCH of bytes at an offset.
    pub(crate) async fn patch(&self, path: &str, offset: usize, bytes: impl Into<Body>) -> Reply {
        self.patch_with(path, offset, &[], bytes).await
    }

    /// tus: sends a PATCH of bytes at an offset, with additional headers.
    pub(crate) async fn patch_with(
        &self,
        path: &str,
        offset: usize,
        more: Headers<'_>,
        bytes: impl Into<Body>,
    ) -> Reply {
        let offset = offset.to_string();
        let mut headers = vec![("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        headers.extend(more);
        self.send(Method::PATCH, path, &headers, bytes).await
    }

    /// Draft: sends a PATCH of bytes at an offset. `last` is `true` for the last append.
    pub(crate) async fn append(&self, path: &str, offset: usize, last: bool, bytes: impl Into<Body>) -> Reply {
        let offset = offset.to_string();
        let headers = [
            ("Upload-Offset", offset.as_str()),
            ("Upload-Complete", if last { "?1" } else { "?0" }),
            ("Content-Type", "application/partial-upload"),
        ];
        self.send(Method::PATCH, path, &headers, bytes).await
    }

    /// Sends the head and the first bytes of the body of a request, and returns the open connection.
    pub(crate) fn begin(
        &self,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        content_length: usize,
        sent: &[u8],
    ) -> TcpStream {
        let host = self.client.url().strip_prefix("http://").unwrap();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\nContent-Length: {content_length}\r\n",
            self.client.authorization()
        );
        for (name, value) in &self.always {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut socket = TcpStream::connect(host).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(sent).unwrap();
        socket.flush().unwrap();
        socket
    }

    /// tus: begins a PATCH that announces `content_length` bytes, and sends only `sent`.
    pub(crate) fn begin_patch(&self, path: &str, offset: usize, content_length: usize, sent: &[u8]) -> TcpStream {
        let offset = offset.to_string();
        let headers = [("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        self.begin("PATCH", path, &headers, content_length, sent)
    }
}

/// Reads the head of an answer from a raw connection.
pub(crate) fn answered(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
