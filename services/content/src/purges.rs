//! Has a content delivery network forget the bytes of files that nobody may read any more: an HTTP request per file,
//! and a second one a few seconds later.
//!
//! An edge that checks only the signatures of media URLs would otherwise serve such bytes until the URLs expire.

use crate::consumer::{Outcome, Step};
use crate::metrics;
use crate::settings::PurgeSettings;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode, Url};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use waybill_domain::access::{Ended, ended_by};
use waybill_event_log::jetstream::Passing;
use waybill_schema::{CompanyId, Entity, FileId, Recorded};
use waybill_service_kit::now;

/// Time for one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Maximum number of requests at the same time.
const AT_ONCE: usize = 16;
/// Longest time that an edge can ask for before the next request.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Age of an event in milliseconds up to which a second request follows, and the time between the two. Gateways apply the event to
/// requests within a second.
const AGAIN_MS: i64 = 4_000;
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Age of an event in milliseconds after which no request is sent: all URLs of that time have expired (90 minutes), and clocks differ.
const LATE_MS: i64 = 2 * 60 * 60 * 1_000;

/// The settings of the requests are not valid.
#[derive(Debug, thiserror::Error)]
pub enum PurgeSettingsError {
    /// The URL is not one.
    #[error("WAYBILL_CDN_PURGE_URL: set an http:// or https:// URL")]
    Url,
    /// The method is not one.
    #[error("WAYBILL_CDN_PURGE_METHOD: set a method of HTTP, such as POST, PURGE or BAN")]
    Method,
    /// The file cannot be read.
    #[error("WAYBILL_CDN_PURGE_HEADERS_FILE: cannot read {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A line is not a header.
    #[error("WAYBILL_CDN_PURGE_HEADERS_FILE: line {0} is not a header such as `Name: value`")]
    Header(usize),
    /// The client cannot be built.
    #[error("cannot prepare requests to a content delivery network: {0}")]
    Client(#[from] reqwest::Error),
}

/// Answer to a request.
struct Sent {
    status: StatusCode,
    /// `true` if the edge has the bytes no longer.
    is_done: bool,
    /// Time for which the edge asks before the next request.
    pause: Option<Duration>,
}

/// The requests to a content delivery network.
#[derive(Clone)]
pub struct PurgeHook {
    places: Arc<Semaphore>,
    url: String,
    method: Method,
    body: Option<String>,
    client: Client,
}

impl PurgeHook {
    /// Returns the requests that the settings describe, or `None` if they have no URL.
    ///
    /// # Errors
    /// [`PurgeSettingsError`].
    pub fn new(settings: &PurgeSettings) -> Result<Option<Self>, PurgeSettingsError> {
        let Some(url) = settings.cdn_purge_url.clone().filter(|url| !url.is_empty()) else { return Ok(None) };
        let parsed = Url::parse(&url).map_err(|_| PurgeSettingsError::Url)?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(PurgeSettingsError::Url);
        }
        let method =
            Method::from_bytes(settings.cdn_purge_method.as_bytes()).map_err(|_| PurgeSettingsError::Method)?;
        let mut headers = HeaderMap::new();
        if let Some(file) = &settings.cdn_purge_headers_file {
            let text = std::fs::read_to_string(file)
                .map_err(|source| PurgeSettingsError::File { file: file.clone(), source })?;
            headers = headers_of(&text)?;
        }
        if settings.cdn_purge_body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(ANSWER_WITHIN)
            .default_headers(headers)
            .user_agent("waybill")
            .build()?;
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Some(Self { places, url, method, body: settings.cdn_purge_body.clone(), client }))
    }

    /// Sends the request for a file.
    async fn send(&self, company: CompanyId, file: FileId) -> Result<Sent, reqwest::Error> {
        let filled = |text: &str| text.replace("{company}", &company.to_string()).replace("{file}", &file.to_string());
        let mut request = self.client.request(self.method.clone(), filled(&self.url));
        if let Some(body) = &self.body {
            request = request.body(filled(body));
        }
        let answer = request.send().await?;
        let status = answer.status();
        // Caches answer 404 to PURGE if they do not have the bytes. For other methods it means a wrong address.
        let is_done = status.is_success() || (status == StatusCode::NOT_FOUND && self.method.as_str() == "PURGE");
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Sent { status, is_done, pause: seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)) })
    }
}

/// Returns the headers in the lines of a text. Their values are secret.
fn headers_of(text: &str) -> Result<HeaderMap, PurgeSettingsError> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let invalid = || PurgeSettingsError::Header(index + 1);
        let (name, value) = line.split_once(':').ok_or_else(invalid)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

impl Step for PurgeHook {
    const CONSUMER: Passing = Passing::Purges;

    async fn possible(&self) {}

    async fn react(&self, recorded: &Recorded, attempt: i64) -> Outcome {
        let (Some(Ended::OfFile), Entity::File(file)) = (ended_by(&recorded.event), recorded.subject.aggregate) else {
            return Outcome::Done;
        };
        let age_ms = now().0.saturating_sub(recorded.envelope.time.0);
        if age_ms > LATE_MS {
            metrics::CDN_PURGES.with_label_values(&["late"]).inc();
            return Outcome::Done;
        }
        let Ok(_place) = self.places.try_acquire() else { return Outcome::NoPlace };
        let (reason, pause) = match self.send(recorded.subject.company, file).await {
            Ok(Sent { is_done: true, .. }) => {
                metrics::CDN_PURGES.with_label_values(&["done"]).inc();
                // A gateway that had not received the event yet, or had begun to send the bytes, may have filled the cache again.
                return if age_ms < AGAIN_MS { Outcome::NotYet(AGAIN_AFTER) } else { Outcome::Done };
            }
            Ok(Sent { status, pause, .. }) => (status.to_string(), pause),
            // The URL can have a secret.
            Err(error) => (error.without_url().to_string(), None),
        };
        metrics::CDN_PURGES.with_label_values(&["failed"]).inc();
        if attempt <= 1 {
            tracing::warn!(file_id = %file, reason, "the content delivery network has not forgotten a file; will try again");
        } else {
            tracing::debug!(file_id = %file, reason, attempt, "the content delivery network has not forgotten a file");
        }
        pause.map_or(Outcome::Failed, Outcome::NotYet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waybill_schema::UploadId;

    fn settings(url: &str) -> PurgeSettings {
        PurgeSettings {
            cdn_purge_url: Some(url.to_owned()),
            cdn_purge_method: "BAN".to_owned(),
            cdn_purge_body: None,
            cdn_purge_headers_file: None,
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(PurgeHook::new(&settings("https://cache.example/m/{company}/{file}/")).unwrap().is_some());
        assert!(PurgeHook::new(&settings("")).unwrap().is_none());
        for url in ["cache.example", "ftp://cache.example/", "/m/{file}"] {
            assert!(matches!(PurgeHook::new(&settings(url)), Err(PurgeSettingsError::Url)), "{url}");
        }
        let spaced = PurgeSettings { cdn_purge_method: "B AN".to_owned(), ..settings("http://a/") };
        assert!(matches!(PurgeHook::new(&spaced), Err(PurgeSettingsError::Method)));
        let missing = PurgeSettings { cdn_purge_headers_file: Some("/nowhere".into()), ..settings("http://a/") };
        assert!(matches!(PurgeHook::new(&missing), Err(PurgeSettingsError::File { .. })));
    }

    #[test]
    fn headers_have_a_line_each() {
        let headers = headers_of("Fastly-Key: a:b\n\n Accept : text/plain \n").unwrap();
        assert_eq!(
            (headers["fastly-key"].to_str().unwrap(), headers["accept"].to_str().unwrap()),
            ("a:b", "text/plain")
        );
        assert!(headers["fastly-key"].is_sensitive());
        assert!(matches!(headers_of("Fastly-Key: a\nnonsense"), Err(PurgeSettingsError::Header(2))));
        assert!(matches!(headers_of("a b: c"), Err(PurgeSettingsError::Header(1))));
    }

    #[tokio::test]
    async fn a_request_names_the_file_and_has_the_headers_and_the_body() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("headers");
        std::fs::write(&file, "Authorization: Bearer secret\n").unwrap();
        let settings = PurgeSettings {
            cdn_purge_method: "POST".to_owned(),
            cdn_purge_body: Some(r#"{"tags":["{file}"]}"#.to_owned()),
            cdn_purge_headers_file: Some(file),
            ..settings(&format!("http://{}/zones/1?of={{company}}", listener.local_addr().unwrap()))
        };
        let hook = PurgeHook::new(&settings).unwrap().unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"}") {
                stream.read_buf(&mut read).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(read).unwrap()
        };
        let (company, file) = (CompanyId(uuid::Uuid::from_u128(1)), UploadId(uuid::Uuid::from_u128(2)));
        let (sent, request) = tokio::join!(hook.send(company, file), answering);
        let sent = sent.unwrap();
        assert!(sent.is_done && sent.status == StatusCode::ACCEPTED && sent.pause == Some(Duration::from_secs(7)));
        assert!(request.starts_with(&format!("POST /zones/1?of={company} HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.ends_with(&format!("\r\n\r\n{{\"tags\":[\"{file}\"]}}")), "{request}");
    }
}
