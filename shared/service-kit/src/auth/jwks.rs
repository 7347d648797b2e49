//! Keys that an identity provider publishes (JSON Web Key Set, RFC 7517), fetched from one URL and from nowhere else.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::redirect::Policy;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// No fetch follows another one sooner, whatever keys are asked for.
const EVERY: Duration = Duration::from_secs(60);
/// After what time keys are fetched again, so that one that was withdrawn is gone.
const FRESH: Duration = Duration::from_secs(600);
/// How long keys are used that could not be fetched again.
const STALE: Duration = Duration::from_secs(24 * 3_600);
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// The largest set.
const MAX_BYTES: usize = 256 * 1_024;

/// The algorithms that keys are accepted for.
pub(super) const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// One key, for one of [`ALGORITHMS`].
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

struct Fetched {
    keys: HashMap<String, Arc<Key>>,
    at: Instant,
}

/// The URL of the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Keys that anybody on the way can change are no keys.
    #[error("WAYBILL_JWKS_URL must be https, or http on this machine")]
    NotSecure,
    /// No client can be made.
    #[error("no client for WAYBILL_JWKS_URL: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why no key can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// There is none of this name.
    Unknown,
    /// The keys could not be fetched yet.
    Unavailable,
}

/// The published keys.
pub(super) struct KeySet {
    url: String,
    http: reqwest::Client,
    fetched: RwLock<Option<Arc<Fetched>>>,
    /// When it was tried the last time. Held while it is tried, so that of many who miss a key one asks.
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

    /// The key of this name.
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
                tracing::info!(keys = keys.len(), "the published keys are fetched");
                let fetched = Fetched { keys, at: Instant::now() };
                *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(fetched));
            }
            Err(reason) => tracing::error!(reason, "the published keys cannot be fetched"),
        }
    }

    pub(super) async fn fetch(&self) -> Result<HashMap<String, Arc<Key>>, String> {
        let mut answer = self.http.get(&self.url).send().await.map_err(|error| error.without_url().to_string())?;
        // A redirect is no success either.
        if answer.status() != reqwest::StatusCode::OK {
            return Err(format!("the answer is {}", answer.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(more) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MAX_BYTES {
                return Err("the set is too large".to_owned());
            }
        }
        let set: JwkSet = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok(set.keys.iter().filter_map(usable).collect())
    }
}

/// A key that tokens may be signed with, by its name: public, for signatures, and of an algorithm that is accepted.
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
