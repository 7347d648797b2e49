//! Keys that an identity provider publishes (JSON Web Key Set, RFC 7517). They are fetched only from the configured
//! URL.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Minimum time between two fetches, even if unknown keys are requested.
const EVERY: Duration = Duration::from_secs(60);
/// Age at which keys are fetched again, so that withdrawn keys are no longer accepted.
const FRESH: Duration = Duration::from_secs(600);
/// Maximum age of keys that are used because they could not be fetched again.
const STALE: Duration = Duration::from_secs(24 * 3_600);
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// Maximum size of the key set.
const MAX_BYTES: usize = 256 * 1_024;

/// The algorithms of accepted keys.
pub(super) const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// A key for one of [`ALGORITHMS`].
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

struct Fetched {
    keys: HashMap<String, Arc<Key>>,
    at: Instant,
}

/// The reason why the URL of the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The connection is not protected, so that an attacker could replace the keys.
    #[error("the URL of published keys must use https, or http on localhost")]
    NotSecure,
    /// The HTTP client cannot be created.
    #[error("cannot create a client for the published keys: {0}")]
    Client(#[from] reqwest::Error),
}

/// The reason why a key was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// No published key has this id.
    Unknown,
    /// The keys could not be fetched yet.
    Unavailable,
}

/// The published keys.
pub(super) struct KeySet {
    url: String,
    http: reqwest::Client,
    fetched: RwLock<Option<Arc<Fetched>>>,
    /// Time of the last fetch. Locked during a fetch, so that concurrent requests with an unknown key cause only one
    /// fetch.
    tried_at: Mutex<Option<Instant>>,
}

impl KeySet {
    pub(super) fn new(url: &str) -> Result<Self, KeySetError> {
        let parsed = reqwest::Url::parse(url).map_err(|_| KeySetError::NotSecure)?;
        let is_local = matches!(parsed.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
        if !(parsed.scheme() == "https" || (parsed.scheme() == "http" && is_local)) {
            return Err(KeySetError::NotSecure);
        }
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(FETCH_WITHIN).build()?;
        Ok(Self { url: url.to_owned(), http, fetched: RwLock::default(), tried_at: Mutex::default() })
    }

    /// Returns the key with this id. Fetches the keys if the id is unknown or the keys are too old.
    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Result<Arc<Key>, NoKey> {
        if let Some(fetched) = self.current().filter(|fetched| fetched.at.elapsed() < STALE)
            && let Some(key) = fetched.keys.get(kid)
        {
            if fetched.at.elapsed() > FRESH {
                let keys = self.clone();
                tokio::spawn(async move { keys.refresh().await });
            }
            return Ok(key.clone());
        }
        self.refresh().await;
        let fetched = self.current().filter(|fetched| fetched.at.elapsed() < STALE).ok_or(NoKey::Unavailable)?;
        fetched.keys.get(kid).cloned().ok_or(NoKey::Unknown)
    }

    fn current(&self) -> Option<Arc<Fetched>> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(&self) {
        let mut tried_at = self.tried_at.lock().await;
        if tried_at.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *tried_at = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "fetched the published keys");
                let fetched = Fetched { keys, at: Instant::now() };
                *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fetched));
            }
            Err(reason) => tracing::error!(reason, "cannot fetch the published keys"),
        }
    }

    pub(super) async fn fetch(&self) -> Result<HashMap<String, Arc<Key>>, String> {
        let mut answer = self.http.get(&self.url).send().await.map_err(|error| error.without_url().to_string())?;
        // Redirects are not followed and count as failures.
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("the answer has status {}", answer.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(more) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MAX_BYTES {
                return Err("the key set is larger than 256 KiB".to_owned());
            }
        }
        let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok(set.keys.iter().filter_map(usable).collect())
    }
}

/// Returns the id and the key if tokens can be signed with it: a public key for signatures with an accepted algorithm.
fn usable(jwk: &Jwk) -> Option<(String, Arc<Key>)> {
    let kid = jwk.common.key_id.clone()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|named| named.to_string() != format!("{algorithm:?}")) {
        return None;
    }
    Some((kid, Arc::new(Key { algorithm, decoding: DecodingKey::from_jwk(jwk).ok()? })))
}
