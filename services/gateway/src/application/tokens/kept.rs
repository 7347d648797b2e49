//! Cache of token states with a limited size.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Mutex;
use waybill_cache::Cache;
use waybill_domain::token::State;
use waybill_repository::{Loaded, TokenAggregate};
use waybill_schema::{CompanyId, Sha256Digest, TokenId};

/// Approximate maximum size of the cache.
const KEPT_BYTES: u64 = 64 * 1_024 * 1_024;

/// Cache of tokens.
pub(crate) struct KeptTokens(Cache<(CompanyId, TokenId), KeptToken>);

/// Token in the cache.
pub(crate) struct KeptToken {
    pub(super) company: CompanyId,
    pub(super) token: TokenId,
    /// State on which commands are decided. Commands of this gateway to one token run one after another, so that
    /// conflicts come only from other gateways.
    pub(super) loaded: Mutex<Loaded<State>>,
    /// Downloads by this gateway, for a token without a limit.
    own: std::sync::Mutex<State>,
    /// Digest of the text of the token, after a request with the right text.
    known_hash: OnceLock<Sha256Digest>,
    weight: AtomicU32,
}

impl KeptTokens {
    pub(super) fn new() -> Self {
        Self(Cache::builder(KEPT_BYTES).weigher(|kept: &KeptToken| kept.weight.load(Ordering::Relaxed)).build())
    }

    /// Returns the token from the cache, and adds it with an empty state if it is not there.
    pub(super) fn get(&self, company: CompanyId, token: TokenId) -> Arc<KeptToken> {
        let new = || {
            let weight = weight_of(&State::default());
            let (loaded, own) = (Mutex::default(), std::sync::Mutex::default());
            KeptToken { company, token, loaded, own, known_hash: OnceLock::new(), weight: weight.into() }
        };
        self.0.get_with(&(company, token), new)
    }

    /// Inserts a token again after its state has grown, so that the cache updates its weight.
    pub(super) fn weigh(&self, kept: &Arc<KeptToken>, state: &State) {
        let weight = weight_of(state);
        if weight > kept.weight.fetch_max(weight, Ordering::Relaxed) {
            self.0.insert(&(kept.company, kept.token), kept.clone());
        }
    }
}

fn weight_of(state: &State) -> u32 {
    u32::try_from(state.weight_bytes()).unwrap_or(u32::MAX)
}

impl KeptToken {
    /// Locks the downloads of this gateway. The state is usable even after a panic of another holder; at worst a
    /// download is not counted.
    pub(super) fn own(&self) -> MutexGuard<'_, State> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the digest of the text of the token, if this gateway has seen the right text.
    pub(crate) fn known_hash(&self) -> Option<Sha256Digest> {
        self.known_hash.get().copied()
    }

    /// Remembers the digest of the text of the token. It never changes.
    pub(crate) fn know_hash(&self, hash: Sha256Digest) {
        self.known_hash.get_or_init(|| hash);
    }

    pub(super) fn aggregate(&self) -> TokenAggregate {
        TokenAggregate { company: self.company, token: self.token }
    }
}
