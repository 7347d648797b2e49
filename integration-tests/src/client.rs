//! An HTTP client that sends the requests of a front end.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use waybill_http_kit::Principal;
use waybill_test_kit::eventually;

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; `null` if there is no JSON.
    pub body: Value,
    /// The header `Waybill-Position`.
    pub position: Option<String>,
}

impl Answer {
    /// Returns a string member of the body.
    ///
    /// # Panics
    /// If the member is missing or no string.
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text {member} in {self:?}")).to_owned()
    }

    /// Asserts the status and returns the answer.
    ///
    /// # Panics
    /// If the status is another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that the answer is a problem with this status and code, and returns it.
    ///
    /// # Panics
    /// If the status or the code is another.
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        self
    }
}

/// The client of a user.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    /// Scheme of the header `Authorization`.
    scheme: &'static str,
    token: String,
    /// The user.
    pub principal: Principal,
}

impl Client {
    /// Creates a client of the Waybill at `url`.
    pub fn new(url: String, token: String, principal: Principal) -> Self {
        Self { http: reqwest::Client::new(), url, scheme: "Bearer", token, principal }
    }

    /// Returns a client of the same user that opens a connection for each request.
    ///
    /// # Panics
    /// If the client cannot be created.
    pub fn without_keep_alive(self) -> Self {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build();
        Self { http: http.expect("a client can be created"), ..self }
    }

    /// Returns a client of the same user with another token.
    pub fn with_token(&self, token: String) -> Self {
        Self { token, ..self.clone() }
    }

    /// Returns a client that has only an upload link of the user.
    pub fn with_link(&self, link: String) -> Self {
        Self { scheme: "Upload-Link", token: link, ..self.clone() }
    }

    /// Returns a client of the same user with another URL.
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// Returns the URL of Waybill.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the value of the header `Authorization`.
    pub fn authorization(&self) -> String {
        format!("{} {}", self.scheme, self.token)
    }

    /// Builds a request with the access token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .header(reqwest::header::AUTHORIZATION, self.authorization())
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If no answer arrives, or an error is no problem document.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer arrives");
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let position = header("Waybill-Position");
        if status >= 400 {
            assert_eq!(header("Content-Type").as_deref(), Some("application/problem+json"), "status {status}");
        }
        let bytes = response.bytes().await.expect("the body is complete");
        Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default(), position }
    }

    /// Sends a request, and repeats it while the answer is 503, as a front end does.
    pub async fn send_until_done(&self, request: impl Fn() -> RequestBuilder) -> Answer {
        eventually("an answer other than 503", || async {
            let answer = self.send(request()).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a GET whose answer must be at least as new as the answer `after`.
    pub async fn get_after(&self, path: &str, after: &Answer) -> Answer {
        let position = after.position.as_deref().expect("the answer has Waybill-Position");
        // On a slow machine the projection can take longer than a query waits. The query is then repeated.
        self.send_until_done(|| self.request(Method::GET, path).header("Waybill-Min-Position", position)).await
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// Sends a PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Starts an upload of `application/octet-stream`.
    pub async fn start(&self, size_bytes: u64) -> Answer {
        self.start_with(size_bytes, json!({})).await
    }

    /// Starts an upload, with additional or replaced members of the request.
    pub async fn start_with(&self, size_bytes: u64, more: Value) -> Answer {
        let mut body = json!({ "name": "a.bin", "size_bytes": size_bytes, "mime_type": "application/octet-stream" });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        self.post("/v1/uploads", &body).await
    }

    /// Sends a chunk.
    pub async fn put_chunk(&self, upload: &str, index: usize, bytes: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::PUT, &format!("/v1/uploads/{upload}/chunks/{index}")).body(bytes)).await
    }

    /// Completes an upload and waits until it is verified.
    pub async fn complete(&self, upload: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/v1/uploads/{upload}/complete"));
        self.send(request.header("Prefer", "wait=60").json(body)).await
    }

    /// Uploads a whole file in one request.
    pub async fn post_file(&self, query: &str, bytes: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, &format!("/v1/files?{query}")).body(bytes)).await
    }

    /// Uploads a small file and returns the answer with its id. The file is verified.
    pub async fn small_file(&self, name: &str) -> Answer {
        let query = format!("name={name}&mime_type=text/plain");
        self.post_file(&query, "hello").await.expect(201)
    }

    /// Downloads a file.
    ///
    /// # Panics
    /// If the file cannot be downloaded.
    pub async fn content(&self, file: &str) -> Vec<u8> {
        let response = self.read(file).await;
        response.bytes().await.expect("the body is complete").to_vec()
    }

    async fn read(&self, file: &str) -> reqwest::Response {
        let response = eventually("a file to be read", || async {
            let response = self.request(Method::GET, &format!("/v1/files/{file}/content")).send().await;
            response.ok().filter(|response| response.status() != 503)
        })
        .await;
        assert_eq!(response.status().as_u16(), 200);
        response
    }

    /// Downloads a file that is too large for memory, and returns its SHA-256.
    ///
    /// # Panics
    /// If the file cannot be downloaded.
    pub async fn content_sha256(&self, file: &str) -> String {
        let mut response = self.read(file).await;
        let mut sha256 = Sha256::new();
        while let Some(bytes) = response.chunk().await.expect("the body is complete") {
            sha256.update(&bytes);
        }
        waybill_schema::Sha256Digest(sha256.finalize().into()).to_string()
    }

    /// Waits until the read model shows the file with this status, and returns the file.
    pub async fn file_with_status(&self, file: &str, status: &str) -> Value {
        eventually(&format!("file {file} to be {status}"), || async {
            let answer = self.get(&format!("/v1/files/{file}")).await;
            (answer.body["processing_status"] == status).then_some(answer.body)
        })
        .await
    }
}
