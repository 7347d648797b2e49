//! Credentials for the store.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::Region;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::sync::PoisonError;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use waybill_service_kit::now;

/// Time before their end at which credentials are renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Minimum time between two attempts to renew credentials that are still valid.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Time after which credentials without an end are read again, because a file of keys can change.
const READ_AGAIN: Duration = Duration::from_secs(900);

/// Source of the credentials for the store.
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl StoreCredentials {
    /// Returns the provider of the credentials. It sends its requests with `http`.
    pub(crate) fn provider(&self, region: &str, http: SharedHttpClient) -> SharedCredentialsProvider {
        match self {
            Self::Keys { id, secret } => {
                SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "waybill-settings"))
            }
            Self::Environment => SharedCredentialsProvider::new(Renewed {
                config: ProviderConfig::without_region()
                    .with_region(Some(Region::new(region.to_owned())))
                    .with_http_client(http),
                chain: OnceCell::new(),
                last: std::sync::Mutex::default(),
                renewal: Mutex::default(),
            }),
        }
    }
}

/// The sources of AWS's SDKs, with a cache.
#[derive(Debug)]
struct Renewed {
    config: ProviderConfig,
    chain: OnceCell<DefaultCredentialsChain>,
    last: std::sync::Mutex<Option<Last>>,
    /// Held by the request that reads the credentials.
    renewal: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Last {
    credentials: Credentials,
    /// Time of the last attempt to read them.
    at: Instant,
}

impl Last {
    /// Returns the time for which the credentials are still valid.
    fn left(&self) -> Duration {
        let now = UNIX_EPOCH + Duration::from_millis(now().0.unsigned_abs());
        let end = self.credentials.expiry();
        end.map_or(Duration::MAX, |end| end.duration_since(now).unwrap_or_default())
    }

    fn is_to_renew(&self) -> bool {
        let age = self.at.elapsed();
        let ends = self.left() < RENEW_BEFORE && age > RENEW_EVERY;
        ends || self.left().is_zero() || (self.credentials.expiry().is_none() && age > READ_AGAIN)
    }
}

impl Renewed {
    /// Returns the credentials. While they are renewed, all other requests use the current ones as long as these are valid.
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let _turn = match self.renewal.try_lock() {
            Ok(turn) => turn,
            Err(_) => match self.last().filter(|last| !last.left().is_zero()) {
                Some(last) => return Ok(last.credentials),
                None => self.renewal.lock().await,
            },
        };
        let last = self.last();
        if let Some(last) = last.as_ref().filter(|last| !last.is_to_renew()) {
            return Ok(last.credentials.clone());
        }
        let new_chain = || DefaultCredentialsChain::builder().configure(self.config.clone()).build();
        let read = self.chain.get_or_init(new_chain).await.provide_credentials().await.map(without_empty_token);
        let credentials = match (read, last.filter(|last| !last.left().is_zero())) {
            (Ok(credentials), _) => credentials,
            (Err(error), Some(last)) => {
                tracing::warn!(%error, "cannot renew the credentials of the object store; using the current ones");
                last.credentials
            }
            (Err(error), None) => return Err(error),
        };
        let last = Last { credentials: credentials.clone(), at: Instant::now() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        Ok(credentials)
    }

    fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
