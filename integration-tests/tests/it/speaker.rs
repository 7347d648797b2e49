//! Requests of a resumable-upload protocol, header by header, and what comes back: for tests of single clauses.

use reqwest::header::HeaderMap;
use reqwest::{Body, Method};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use waybill_integration_tests::Client;

/// Headers of one request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// Somebody who speaks a protocol: the headers that it puts on every request, besides the token.
pub(crate) struct Speaker {
    pub(crate) client: Client,
    always: Vec<(&'static str, String)>,
}

/// An answer.
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

    /// The same, if the status is this.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }

    /// The same, if it has a header with this value.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name} of {} {:?}", self.status, self.headers);
        self
    }

    /// The same, if it has no such header.
    pub(crate) fn without(self, name: &str) -> Self {
        assert_eq!(self.header(name), None, "{name} of {} {:?}", self.status, self.headers);
        self
    }

    /// The path of the upload that was created.
    pub(crate) fn location(&self) -> String {
        self.header("Location").expect("it has a Location").to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The same, if it is a problem with this status and code.
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{:?}", self.headers);
        self
    }
}

/// The id of the upload at a path.
pub(crate) fn id_of(location: &str) -> String {
    location.rsplit('/').next().unwrap().to_owned()
}

impl Speaker {
    /// tus 1.0.0.
    pub(crate) fn tus(client: Client) -> Self {
        Self { client, always: vec![("Tus-Resumable", "1.0.0".to_owned())] }
    }

    /// The IETF's draft, in this interop version.
    pub(crate) fn draft(client: Client, version: u32) -> Self {
        Self { client, always: vec![("Upload-Draft-Interop-Version", version.to_string())] }
    }

    /// Neither: only what the request says itself.
    pub(crate) fn plain(client: Client) -> Self {
        Self { client, always: Vec::new() }
    }

    /// Sends a request; what it says itself replaces what is always said.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: Headers<'_>, body: impl Into<Body>) -> Reply {
        self.try_send(method, path, headers, body).await.expect("an answer comes")
    }

    /// The same where the connection may break before the answer is there: a server that has said no does not wait for
    /// all of a long body.
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

    /// tus: PATCH of bytes at an offset, while servers die; answers with whether they were taken.
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

    /// tus: a new upload of this length; answers with its path.
    pub(crate) async fn create(&self, length: usize) -> String {
        self.post(&[("Upload-Length", &length.to_string())], "").await.expect(201).location()
    }

    /// tus: PATCH of bytes at an offset.
    pub(crate) async fn patch(&self, path: &str, offset: usize, bytes: impl Into<Body>) -> Reply {
        self.patch_with(path, offset, &[], bytes).await
    }

    /// tus: the same, with more headers.
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

    /// The draft: PATCH of bytes at an offset, the last ones or not.
    pub(crate) async fn append(&self, path: &str, offset: usize, last: bool, bytes: impl Into<Body>) -> Reply {
        let offset = offset.to_string();
        let headers = [
            ("Upload-Offset", offset.as_str()),
            ("Upload-Complete", if last { "?1" } else { "?0" }),
            ("Content-Type", "application/partial-upload"),
        ];
        self.send(Method::PATCH, path, &headers, bytes).await
    }

    /// A request of which all of the head and the first bytes of the body are sent; the connection stays as it is.
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
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Length: {content_length}\r\n",
            self.client.token()
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

    /// tus: a PATCH that is cut after `sent`, of `content_length` bytes that were announced.
    pub(crate) fn begin_patch(&self, path: &str, offset: usize, content_length: usize, sent: &[u8]) -> TcpStream {
        let offset = offset.to_string();
        let headers = [("Upload-Offset", offset.as_str()), ("Content-Type", "application/offset+octet-stream")];
        self.begin("PATCH", path, &headers, content_length, sent)
    }
}

/// The head of what is answered on a raw connection.
pub(crate) fn answered(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
        answer.push(byte[0]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
