//! Client of the HTTP API of Waybill.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use waybill_api::parts::SignedPart;
use waybill_api::{ErrorCode, ProblemDetails};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for an answer. It is longer than any wait that a request asks Waybill for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Idle time of a connection after which TCP keep-alive probes begin, to detect a dead peer.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Codes of errors after which the same request can succeed: the body was incomplete, or another connection of this
/// client sent the same bytes.
const REPEATABLE: [ErrorCode; 4] =
    [ErrorCode::BodyIncomplete, ErrorCode::ChunkIncomplete, ErrorCode::OffsetMismatch, ErrorCode::Superseded];

/// URL of Waybill and token of the caller.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    /// URL of Waybill
    #[arg(long, env = "WAYBILL_URL", default_value = "http://127.0.0.1:8080", global = true, help_heading = "Server")]
    pub(crate) url: String,
    /// Token (a JWT). Use the environment variable instead of the option: other users can see command lines
    #[arg(
        long,
        env = "WAYBILL_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        help_heading = "Server"
    )]
    pub(crate) token: String,
    /// File with the token, instead of --token. It is read for each request, so that you can renew the token at any
    /// time
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "PATH", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer arrived.
    #[error("{} does not answer: {reason}", .url)]
    Unreachable {
        /// URL of the peer.
        url: String,
        /// Cause.
        reason: String,
    },
    /// Waybill refused the request.
    #[error("{detail} ({code})")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Stable error code.
        code: String,
        /// Text for users.
        detail: String,
        /// Time after which the request can be repeated.
        retry_after: Option<Duration>,
    },
    /// Waybill does not accept the token in the token file, for example because it has expired. A renewed token can
    /// succeed.
    #[error("the token in {file} is refused: {detail}")]
    StaleToken {
        /// Path of the token file.
        file: String,
        /// Text for users.
        detail: String,
    },
    /// The request cannot be sent, or the certificate of the peer is not trusted.
    #[error("cannot send the request to {url}: {reason}")]
    Impossible {
        /// URL of the peer.
        url: String,
        /// Cause.
        reason: String,
    },
    /// The peer is not Waybill, or a version that this client does not understand.
    #[error("the answer of {url} is not an answer of Waybill: {reason}")]
    Strange {
        /// URL of the peer.
        url: String,
        /// Difference from an answer of Waybill.
        reason: String,
    },
}

impl ApiError {
    /// Returns `true` if the same request can succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::StaleToken { .. } => true,
            Self::Refused { status, code, .. } => {
                status.is_server_error()
                    || matches!(status.as_u16(), 408 | 425 | 429)
                    || REPEATABLE.iter().any(|repeatable| repeatable.as_str() == code)
            }
            Self::Strange { .. } | Self::Impossible { .. } => false,
        }
    }

    /// Returns `true` if Waybill refused the request permanently, for another reason than the token.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.is_passing() && matches!(self.status(), Some(status) if status != 401 && status != 403)
    }

    pub(crate) fn has_code(&self, wanted: ErrorCode) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted.as_str())
    }

    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Answer, and its JSON as the server sent it, which has all members of newer servers.
pub(crate) struct Sent<T> {
    pub(crate) json: Value,
    pub(crate) body: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let body = T::deserialize(&json).map_err(D::Error::custom)?;
        Ok(Self { json, body })
    }
}

/// Page of a list.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    items: Vec<Sent<T>>,
    next_cursor: Option<String>,
}

/// Client of one Waybill.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    args: ApiArgs,
}

impl Api {
    pub(crate) fn new(args: ApiArgs) -> Result<Self, String> {
        let url = Url::parse(&args.url).map_err(|error| format!("{} is not a URL: {error}", args.url))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{} is not a URL of Waybill: it must begin with http:// or https://", args.url));
        }
        let api = Self { client: Client::new(), args };
        let token = api.token()?;
        if token.is_empty() {
            return Err("no token is set: set WAYBILL_TOKEN or WAYBILL_TOKEN_FILE, or use --token".to_owned());
        }
        if HeaderValue::from_str(&token).is_err() {
            return Err("the token contains characters that are not allowed in an HTTP header".to_owned());
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(DEAD_AFTER)
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client, ..api })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // If the token file cannot be read at this moment, the request has no token. Waybill answers 401, and the
        // client retries.
        self.client.request(method, format!("{}{path}", self.url())).bearer_auth(self.token().unwrap_or_default())
    }

    /// Returns a request to the object store that Waybill has presigned. It must not contain the token.
    pub(crate) fn signed(&self, signed: &SignedPart) -> Result<RequestBuilder, ApiError> {
        let method = signed.method.parse().map_err(|_| self.strange("an invalid method"))?;
        let request = self.client.request(method, &signed.url);
        Ok(signed.headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    }

    /// Converts an error of a request to the object store. Errors of the store have another format than those of
    /// Waybill; they can pass, because the next attempt has a new signature.
    pub(crate) fn by_store(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Strange { reason, .. } => ApiError::Unreachable { url: "the object store".to_owned(), reason },
            error => error,
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn url(&self) -> &str {
        self.args.url.trim_end_matches('/')
    }

    /// Returns the current token.
    ///
    /// # Errors
    /// If the token file cannot be read.
    pub(crate) fn token(&self) -> Result<String, String> {
        let Some(file) = &self.args.token_file else { return Ok(self.args.token.trim().to_owned()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Returns the company and the user of the token, as far as they can be read. They separate the saved state of
    /// different users. The token is not verified, because no permission depends on the result.
    pub(crate) fn whose(&self) -> String {
        let token = self.token().unwrap_or_default();
        let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        format!("{} {}", claims["company_id"].as_str().unwrap_or_default(), claims["sub"].as_str().unwrap_or_default())
    }

    /// Sends a request and returns its answer if it is a success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        match (serde_json::from_slice(&body), &self.args.token_file) {
            (Ok(ProblemDetails { detail, .. }), Some(file)) if status == StatusCode::UNAUTHORIZED => {
                Err(ApiError::StaleToken { file: file.display().to_string(), detail })
            }
            (Ok(ProblemDetails { code, detail, .. }), _) => {
                Err(ApiError::Refused { status, code, detail, retry_after: retry_after.map(Duration::from_secs) })
            }
            // The answer can come from a proxy in front of Waybill. Its 502 can pass like an error of Waybill.
            _ if status.is_server_error() => Err(self.unreachable_because(format!("status {status}"))),
            _ => Err(self.strange(format!("status {status} without problem details"))),
        }
    }

    /// Sends a small request with a timeout and returns its answer if it is a success.
    pub(crate) async fn send_soon(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Sends a small request with a timeout and returns the JSON of its answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ApiError> {
        self.json_within(ANSWER_TIMEOUT, request).await
    }

    /// Sends a request with the timeout `timeout` and returns the JSON of its answer.
    pub(crate) async fn json_within<T: DeserializeOwned>(
        &self,
        timeout: Duration,
        request: RequestBuilder,
    ) -> Result<T, ApiError> {
        let response = self.send(request.timeout(timeout)).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    /// Passes each item of a list to `take`, page by page. Stops if `take` returns `false`.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut take: impl FnMut(Sent<T>) -> bool,
    ) -> Result<(), ApiError> {
        let mut cursor: Option<String> = None;
        loop {
            let request = self.get(path).query(query);
            let request = cursor.iter().fold(request, |request, cursor| request.query(&[("cursor", cursor)]));
            let page: Page<T> = self.json(request).await?;
            if !page.items.into_iter().all(&mut take) {
                return Ok(());
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        // Presigned requests have another URL than Waybill.
        let url = error.url().map_or_else(|| self.url().to_owned(), |url| url.origin().ascii_serialization());
        // The innermost cause is the most specific one: refused, reset, timed out, no such host.
        let mut cause: &(dyn std::error::Error + 'static) = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let reason = cause.to_string();
        if error.is_builder() || is_distrust(cause) {
            ApiError::Impossible { url, reason }
        } else {
            ApiError::Unreachable { url, reason }
        }
    }

    pub(crate) fn unreachable_because(&self, reason: impl Into<String>) -> ApiError {
        ApiError::Unreachable { url: self.url().to_owned(), reason: reason.into() }
    }

    pub(crate) fn strange(&self, reason: impl Into<String>) -> ApiError {
        ApiError::Strange { url: self.url().to_owned(), reason: reason.into() }
    }
}

/// Returns `true` if the certificate of the peer is not trusted. Retries cannot help then.
fn is_distrust(cause: &(dyn std::error::Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}
