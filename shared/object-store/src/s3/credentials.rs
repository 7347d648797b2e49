//! Credentials for the store.

use super::errors::causes;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Region;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;
use waybill_service_kit::now;

/// Time before their end at which credentials are renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Minimum time between two attempts to renew credentials that are still valid.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Time after which credentials without an end are read again, because a file of keys can change.
const READ_AGAIN: Duration = Duration::from_secs(900);
/// Maximum time of an attempt.
const WITHIN: Duration = Duration::from_secs(10);
/// Time after a failed attempt in which requests fail without another one, if there are no valid credentials.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Source of the credentials for the store.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreCredentials {
    /// These keys.
    Keys {
        /// Id of the access key.
        id: String,
        /// Secret of the access key.
        secret: String,
    },
    /// The sources of AWS's SDKs, in this order: `AWS_ACCESS_KEY_ID` and the variables that belong to it, the files of
    /// `aws configure`, the token of a service account (`AWS_WEB_IDENTITY_TOKEN_FILE`), the endpoint of a container
    /// (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI`), and the metadata service of an EC2 instance. They are
    /// renewed before they end.
    Environment,
}

impl fmt::Debug for StoreCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys { .. } => "Keys",
            Self::Environment => "Environment",
        })
    }
}

impl StoreCredentials {
    /// Returns the provider of the credentials. It sends its requests with `http`, and calls services of the region.
    pub(crate) fn provider(&self, region: &str, http: SharedHttpClient) -> SharedCredentialsProvider {
        match self {
            Self::Keys { id, secret } => {
                SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "waybill-settings"))
            }
            Self::Environment => {
                let region = Region::new(region.to_owned());
                SharedCredentialsProvider::new(Renewed::of(move || {
                    let (region, http) = (region.clone(), http.clone());
                    async move {
                        // A chain keeps the files that it has read. A new one reads them again.
                        let config = ProviderConfig::without_region().with_http_client(http);
                        let chain = DefaultCredentialsChain::builder().configure(config).region(region).build().await;
                        chain.provide_credentials().await
                    }
                    .boxed()
                }))
            }
        }
    }
}

type Source = dyn Fn() -> BoxFuture<'static, Result<Credentials, CredentialsError>> + Send + Sync;

/// Credentials of a source, which are kept until they have to be renewed.
struct Renewed {
    source: Box<Source>,
    last: Mutex<Last>,
    /// Held by the request that reads the credentials.
    renewal: tokio::sync::Mutex<()>,
}

/// Results of the last attempts.
#[derive(Clone, Default)]
struct Last {
    credentials: Option<Credentials>,
    /// Time of the last attempt.
    at: Option<Instant>,
    /// Reason why it failed.
    failure: Option<String>,
}

impl Last {
    /// Returns the credentials that are still valid, and for how long they are.
    fn valid(&self) -> Option<(&Credentials, Duration)> {
        let credentials = self.credentials.as_ref()?;
        Some((credentials, time_left(credentials))).filter(|(_, left)| !left.is_zero())
    }

    /// Returns the credentials, or the error of the last attempt. Returns `None` if it is time for a new attempt.
    fn answer(&self) -> Option<Result<Credentials, CredentialsError>> {
        let age = self.at?.elapsed();
        let Some((credentials, left)) = self.valid() else {
            let failure = self.failure.clone().filter(|_| age < FAILED_FOR)?;
            return Some(Err(CredentialsError::provider_error(failure)));
        };
        let every = if credentials.expiry().is_none() { READ_AGAIN } else { RENEW_EVERY };
        let is_to_renew = (left < RENEW_BEFORE || credentials.expiry().is_none()) && age >= every;
        (!is_to_renew).then(|| Ok(credentials.clone()))
    }
}

impl Renewed {
    fn of(
        source: impl Fn() -> BoxFuture<'static, Result<Credentials, CredentialsError>> + Send + Sync + 'static,
    ) -> Self {
        Self { source: Box::new(source), last: Mutex::default(), renewal: tokio::sync::Mutex::default() }
    }

    /// Returns the credentials. While one request renews them, all others use the current ones as long as these are valid.
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        if let Some(answer) = self.last().answer() {
            return answer;
        }
        let _turn = match self.renewal.try_lock() {
            Ok(turn) => turn,
            Err(_) => match self.last().valid() {
                Some((credentials, _)) => return Ok(credentials.clone()),
                None => self.renewal.lock().await,
            },
        };
        // Another request may have read them in the meantime.
        if let Some(answer) = self.last().answer() {
            return answer;
        }
        let read = tokio::time::timeout(WITHIN, (self.source)()).await;
        let read = read.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(WITHIN)));
        let mut last = self.locked();
        last.at = Some(Instant::now());
        match read.map(without_empty_token) {
            Ok(credentials) => {
                last.credentials = Some(credentials.clone());
                last.failure = None;
                Ok(credentials)
            }
            Err(error) => {
                let reason = causes(&error);
                last.failure = Some(reason.clone());
                let Some((credentials, _)) = last.valid() else { return Err(CredentialsError::provider_error(reason)) };
                tracing::warn!(reason, "cannot renew the credentials of the object store; using the current ones");
                Ok(credentials.clone())
            }
        }
    }

    fn last(&self) -> Last {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewed")
    }
}

/// Returns the time for which credentials are still valid.
pub(crate) fn time_left(credentials: &Credentials) -> Duration {
    let now = UNIX_EPOCH + Duration::from_millis(now().0.unsigned_abs());
    credentials.expiry().map_or(Duration::MAX, |end| end.duration_since(now).unwrap_or_default())
}

/// Removes an empty session token. Endpoints of other stores than Amazon's hand out keys without a token, and such a store
/// refuses requests that have one.
fn without_empty_token(credentials: Credentials) -> Credentials {
    if credentials.session_token() != Some("") {
        return credentials;
    }
    let (id, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    Credentials::new(id, secret, None, credentials.expiry(), "environment")
}

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answer of the source of a test.
    #[derive(Clone, Copy)]
    enum Answer {
        /// Keys that end after so many seconds.
        Keys(&'static str, u64),
        Fails,
        Hangs,
    }

    fn renewed(answers: &'static [Answer]) -> (Renewed, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let source = move || {
            let answer = answers[count.fetch_add(1, Ordering::SeqCst)];
            async move {
                match answer {
                    Answer::Keys(id, seconds) => {
                        let end = UNIX_EPOCH + Duration::from_millis(now().0.unsigned_abs() + seconds * 1_000);
                        Ok(Credentials::new(id, "secret", None, Some(end), "test"))
                    }
                    Answer::Fails => Err(CredentialsError::provider_error("the endpoint is down")),
                    Answer::Hangs => std::future::pending().await,
                }
            }
            .boxed()
        };
        (Renewed::of(source), asked)
    }

    async fn id(renewed: &Renewed) -> Result<String, String> {
        let credentials = renewed.credentials().await.map_err(|error| causes(&error))?;
        Ok(credentials.access_key_id().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_renewed_before_they_end_and_used_until_then() {
        use Answer::*;
        let (renewed, asked) = renewed(&[Keys("first", 200), Fails, Hangs, Keys("second", 3_600), Keys("third", 1)]);
        assert_eq!(id(&renewed).await.as_deref(), Ok("first"));
        assert_eq!(id(&renewed).await.as_deref(), Ok("first"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        for expected in ["first", "first", "second", "second"] {
            tokio::time::advance(RENEW_EVERY).await;
            assert_eq!(id(&renewed).await.as_deref(), Ok(expected));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 4, "the last ones are valid for long");
    }

    #[tokio::test(start_paused = true)]
    async fn others_use_the_current_credentials_while_one_request_renews_them() {
        let (renewed, asked) = renewed(&[Answer::Keys("first", 200), Answer::Hangs]);
        id(&renewed).await.unwrap();
        tokio::time::advance(RENEW_EVERY).await;
        let mut renewing = Box::pin(id(&renewed));
        assert!(futures_util::poll!(&mut renewing).is_pending());
        assert_eq!(id(&renewed).now_or_never().unwrap().as_deref(), Ok("first"));
        assert_eq!(renewing.await.as_deref(), Ok("first"));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_share_a_failed_attempt() {
        let (renewed, asked) = renewed(&[Answer::Fails, Answer::Keys("first", 3_600)]);
        for _ in 0..3 {
            assert!(id(&renewed).await.unwrap_err().contains("the endpoint is down"));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(FAILED_FOR).await;
        assert_eq!(id(&renewed).await.as_deref(), Ok("first"));
    }
}
