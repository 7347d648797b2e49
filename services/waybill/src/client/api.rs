//! Waybill over HTTP.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take: longer than the longest that Waybill is asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the peer may leave sent bytes without an acknowledgement, or a probe without an answer.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Where Waybill is, and who asks.
#[derive(Args, Clone)]
pub(crate) struct ApiArgs {
    /// Where Waybill is
    #[arg(long, env = "WAYBILL_URL", default_value = "http://127.0.0.1:8080", global = true, help_heading = "Server")]
    pub(crate) url: String,
    /// The token (a JWT); better by its variable than on the command line, which others can see
    #[arg(
        long,
        env = "WAYBILL_TOKEN",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        help_heading = "Server"
    )]
    pub(crate) token: String,
    /// A file with the token, in place of --token; read again for each request, so that it may be renewed meanwhile
    #[arg(long, env = "WAYBILL_TOKEN_FILE", value_name = "PATH", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Why a request did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer came.
    #[error("{} does not answer: {reason}", .url)]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// Waybill said no.
    #[error("{detail} ({code})")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The stable code.
        code: String,
        /// For a person.
        detail: String,
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// The token of a file is not good any more; the next one may be.
    #[error("the token in {file} is refused: {detail}")]
    StaleToken {
        /// Which.
        file: String,
        /// Why.
        detail: String,
    },
    /// The request cannot be sent, or the peer is not to be trusted.
    #[error("{url} cannot be asked: {reason}")]
    Impossible {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// What answers is not Waybill, or not one that we understand.
    #[error("{url} answers with something else than Waybill does: {reason}")]
    Strange {
        /// Where.
        url: String,
        /// What.
        reason: String,
    },
}

impl ApiError {
    /// Whether the same request may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::StaleToken { .. } => true,
            Self::Refused { status, code, .. } => {
                status.is_server_error()
                    || matches!(status.as_u16(), 408 | 425 | 429)
                    // Of bytes that broke off, or that another connection of ours brought meanwhile.
                    || matches!(code.as_str(), "body_incomplete" | "chunk_incomplete" | "superseded")
            }
            Self::Strange { .. } | Self::Impossible { .. } => false,
        }
    }

    /// Whether Waybill said no for good, other than to the token.
    pub(crate) fn is_refusal(&self) -> bool {
        !self.is_passing() && matches!(self.status(), Some(status) if status != 401 && status != 403)
    }

    pub(crate) fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
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

/// A client of one Waybill.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    args: ApiArgs,
}

impl Api {
    pub(crate) fn new(args: ApiArgs) -> Result<Self, String> {
        let url = Url::parse(&args.url).map_err(|error| format!("{} is no URL: {error}", args.url))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!("{} is no URL of Waybill: it begins with http:// or https://", args.url));
        }
        let api = Self { client: Client::new(), args };
        let token = api.token()?;
        if token.is_empty() {
            return Err("a token is needed: set WAYBILL_TOKEN or WAYBILL_TOKEN_FILE, or use --token".to_owned());
        }
        if HeaderValue::from_str(&token).is_err() {
            return Err("the token has characters that no token has".to_owned());
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
        // Where the file cannot be read for a moment, the answer is 401, and the request is repeated.
        self.client.request(method, format!("{}{path}", self.url())).bearer_auth(self.token().unwrap_or_default())
    }

    /// A request that Waybill has signed, to the object store: it needs no token, and is not to get one.
    pub(crate) fn signed(&self, signed: &Value) -> Result<RequestBuilder, ApiError> {
        let text = |member: &str| signed[member].as_str().ok_or_else(|| self.strange(format!("no {member}")));
        let method = text("method")?.parse().map_err(|_| self.strange("a strange method"))?;
        let request = self.client.request(method, text("url")?);
        let headers = signed["headers"].as_object().into_iter().flatten();
        Ok(headers.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap_or_default())))
    }

    /// What the object store answered: its own words are not ours, and a new signature may help.
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

    /// The token as it is now.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub(crate) fn token(&self) -> Result<String, String> {
        let Some(file) = &self.args.token_file else { return Ok(self.args.token.trim().to_owned()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Whose token it is, as far as it can be read: what keeps the states of two users apart. Nobody relies on it, so
    /// it is not verified.
    pub(crate) fn whose(&self) -> String {
        let token = self.token().unwrap_or_default();
        let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims: Value = claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        format!("{} {}", claims["company_id"].as_str().unwrap_or_default(), claims["sub"].as_str().unwrap_or_default())
    }

    /// Sends a request; the answer, if it is a success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (problem["code"].as_str(), problem["detail"].as_str()) {
            (Some(_), Some(detail)) if status == StatusCode::UNAUTHORIZED && self.args.token_file.is_some() => {
                let file = self.args.token_file.iter().map(|file| file.display().to_string()).collect();
                Err(ApiError::StaleToken { file, detail: detail.to_owned() })
            }
            (Some(code), Some(detail)) => Err(ApiError::Refused {
                status,
                code: code.to_owned(),
                detail: detail.to_owned(),
                retry_after: retry_after.map(Duration::from_secs),
            }),
            // A proxy in front of it may be what answers; its 502 passes like one of ours.
            _ if status.is_server_error() => Err(self.unreachable_because(format!("status {status}"))),
            _ => Err(self.strange(format!("status {status} without an explanation"))),
        }
    }

    /// Sends a small request; the answer, if it is a success, and comes.
    pub(crate) async fn send_soon(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        self.send(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// Sends a small request; the JSON of its answer.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, ApiError> {
        self.json_within(ANSWER_TIMEOUT, request).await
    }

    /// Sends a request that takes a while; the JSON of its answer.
    pub(crate) async fn json_within(&self, timeout: Duration, request: RequestBuilder) -> Result<Value, ApiError> {
        let response = self.send(request.timeout(timeout)).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    /// Every item of a list, page by page.
    pub(crate) async fn pages(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut take: impl FnMut(&Value) -> bool,
    ) -> Result<(), ApiError> {
        let mut cursor: Option<String> = None;
        loop {
            let request = self.get(path).query(query);
            let request = cursor.iter().fold(request, |request, cursor| request.query(&[("cursor", cursor)]));
            let page = self.json(request).await?;
            if !page["items"].as_array().into_iter().flatten().all(&mut take) {
                return Ok(());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        // Requests that Waybill has signed go elsewhere.
        let url = error.url().map_or_else(|| self.url().to_owned(), |url| url.origin().ascii_serialization());
        // The innermost cause is what tells: refused, reset, timed out, no such host.
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

/// Whether the peer has no certificate that we trust: waiting does not help.
fn is_distrust(cause: &(dyn std::error::Error + 'static)) -> bool {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}
