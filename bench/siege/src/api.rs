//! Requests of one user.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// An answer. Status 0 stands for no answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self, member: &str) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body[member].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A user.
#[derive(Clone)]
pub(crate) struct User {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl User {
    pub(crate) fn new(http: &reqwest::Client, url: &str, token: &str) -> Self {
        Self { http: http.clone(), url: url.to_owned(), token: token.to_owned() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let Ok(answer) = request.send().await else { return Answer::default() };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        match answer.bytes().await {
            Ok(body) => Answer { status, headers, body: body.to_vec() },
            Err(_) => Answer::default(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Uploads a file in one request and returns its id.
    pub(crate) async fn upload(&self, content: Vec<u8>) -> String {
        let path = "/v1/files?name=a.bin&mime_type=application/octet-stream";
        self.send(self.request(Method::POST, path).body(content)).await.text("file_id")
    }
}
