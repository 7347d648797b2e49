//! An HTTP client that says what a front end would.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use waybill_service_kit::Principal;
use waybill_test_kit::eventually;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; `null` without one.
    pub body: Value,
    /// `Waybill-Position`.
    pub position: Option<String>,
}

impl Answer {
    /// A member of the body as text.
    ///
    /// # Panics
    /// Where it is none.
    pub fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text {member} in {self:?}")).to_owned()
    }

    /// The same, if the status is `status`.
    ///
    /// # Panics
    /// Where it is another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The same, if it is a problem with this status and code.
    ///
    /// # Panics
    /// Where it is another.
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{self:?}");
        self
    }
}

/// A user's client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
    /// Whose.
    pub principal: Principal,
}

impl Client {
    /// A client of the Waybill at `url`.
    pub fn new(url: String, token: String, principal: Principal) -> Self {
        Self { http: reqwest::Client::new(), url, token, principal }
    }

    /// The same user at another address.
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// Where it sends to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Sends a request.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer comes");
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let position = header("Waybill-Position");
        if status >= 400 {
            assert_eq!(header("Content-Type").as_deref(), Some("application/problem+json"), "status {status}");
        }
        let bytes = response.bytes().await.expect("the body is whole");
        Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_default(), position }
    }

    /// Sends a request as a front end does: again if the answer is 503, which asks for that.
    pub async fn send_until_done(&self, request: impl Fn() -> RequestBuilder) -> Answer {
        eventually("an answer other than 503", || async {
            let answer = self.send(request()).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// GET what is at least as new as `after`.
    pub async fn get_after(&self, path: &str, after: &Answer) -> Answer {
        let position = after.position.as_deref().expect("a command answers with its position");
        // On a slow machine a projection takes longer than a query waits: then it is asked again.
        self.send_until_done(|| self.request(Method::GET, path).header("Waybill-Min-Position", position)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Starts an upload of random bytes.
    pub async fn start(&self, size_bytes: u64) -> Answer {
        self.start_with(size_bytes, json!({})).await
    }

    /// Starts an upload, with more or other members.
    pub async fn start_with(&self, size_bytes: u64, more: Value) -> Answer {
        let mut body = json!({ "name": "a.bin", "size_bytes": size_bytes, "mime_type": "application/octet-stream" });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        self.post("/v1/uploads", &body).await
    }

    /// Puts a chunk.
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

    /// A small file that is there and verified; answers with its id.
    pub async fn small_file(&self, name: &str) -> Answer {
        let query = format!("name={name}&mime_type=text/plain");
        self.post_file(&query, "hello").await.expect(201)
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// Where they cannot be had.
    pub async fn content(&self, file: &str) -> Vec<u8> {
        let response = self.read(file).await;
        response.bytes().await.expect("the body is whole").to_vec()
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

    /// The digest of the bytes of a file that is too large to be held.
    ///
    /// # Panics
    /// Where they cannot be had.
    pub async fn content_sha256(&self, file: &str) -> String {
        let mut response = self.read(file).await;
        let mut sha256 = Sha256::new();
        while let Some(bytes) = response.chunk().await.expect("the body is whole") {
            sha256.update(&bytes);
        }
        waybill_schema::Sha256Digest(sha256.finalize().into()).to_string()
    }

    /// Until the file can be seen in the read model with this status.
    pub async fn file_with_status(&self, file: &str, status: &str) -> Value {
        eventually(&format!("file {file} to be {status}"), || async {
            let answer = self.get(&format!("/v1/files/{file}")).await;
            (answer.body["processing_status"] == status).then_some(answer.body)
        })
        .await
    }
}
