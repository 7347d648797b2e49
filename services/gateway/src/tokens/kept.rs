//! Cache of token states with a limited size, and the two ways to record a download.
//!
//! For a token with `max_downloads`, the gateway decides each download on the complete state and appends the event with
//! an expectation. The number of events to fold is bounded by `max_downloads`. A token without that limit needs no such
//! decision: each gateway counts its own downloads and appends events without an expectation to a separate subject,
//! which is not loaded for decisions.

use crate::gateway::Gateway;
use crate::problems::{IntoProblem, refused};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::Mutex;
use waybill_cache::Cache;
use waybill_domain::token::{Command, State, decide, evolve};
use waybill_event_log::{Expect, NewEvent, append};
use waybill_repository::{Context, Loaded, TokenAggregate, execute, refresh};
use waybill_schema::events::{DownloadTokenIssuedV1, TokenEvent};
use waybill_schema::{Aggregate, CompanyId, Routing, Subject, TokenId};
use waybill_service_kit::Problem;

/// Approximate maximum size of the cache.
const KEPT_BYTES: u64 = 64 * 1_024 * 1_024;

/// Cache of tokens.
pub(super) struct KeptTokens(Cache<(CompanyId, TokenId), KeptToken>);

/// Token in the cache.
pub(super) struct KeptToken {
    company: CompanyId,
    token: TokenId,
    /// State on which commands are decided. Commands of this gateway to one token run one after another, so that
    /// conflicts come only from other gateways.
    loaded: Mutex<Loaded<State>>,
    /// Downloads by this gateway, for a token without a limit.
    own: std::sync::Mutex<State>,
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
            KeptToken { company, token, loaded, own, weight: weight.into() }
        };
        self.0.get_with(&(company, token), new)
    }

    /// Inserts a token again after its state has grown, so that the cache updates its weight.
    fn weigh(&self, kept: &Arc<KeptToken>, state: &State) {
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
    /// Returns the current state of the token from the log. Does not hold the lock while it reads, so that commands do
    /// not wait for it.
    pub(super) async fn look(self: &Arc<Self>, gateway: &Gateway) -> Result<State, Problem> {
        let mut seen = self.loaded.lock().await.clone();
        let looked = refresh(gateway.log.as_ref(), &self.aggregate(), &mut seen).await;
        looked.map_err(|error| error.into_problem("loading a token"))?;
        gateway.tokens.kept.weigh(self, &seen.state);
        let state = seen.state.clone();
        let mut loaded = self.loaded.lock().await;
        if seen.read_to > loaded.read_to {
            *loaded = seen;
        }
        Ok(state)
    }

    /// Executes a command on the complete state of the token. Returns the position and the new state.
    pub(super) async fn run(
        self: &Arc<Self>,
        gateway: &Gateway,
        context: &Context,
        command: Command,
    ) -> Result<(String, State), Problem> {
        let mut loaded = self.loaded.lock().await;
        let done = execute(gateway.log.as_ref(), &self.aggregate(), &mut loaded, context, command).await;
        gateway.tokens.kept.weigh(self, &loaded.state);
        let done = done.map_err(|error| error.into_problem("changing a token"))?;
        Ok((done.position.to_string(), loaded.state.clone()))
    }

    /// Records a change of a download, in the way that the token's `max_downloads` requires (see the module
    /// documentation).
    pub(super) async fn record(
        self: &Arc<Self>,
        gateway: &Gateway,
        context: &Context,
        issued: &DownloadTokenIssuedV1,
        command: Command,
    ) -> Result<(), Problem> {
        if issued.max_downloads.is_some() {
            return self.run(gateway, context, command).await.map(drop);
        }
        let Some(event) = self.decide_alone(gateway, context, issued, command)? else { return Ok(()) };
        let subject = Subject::new(self.company, Aggregate::TokenDownloads(self.token));
        let envelope = context.envelope(Routing::default());
        let new = NewEvent { subject, envelope, event: event.into(), expect: Expect::Any, message_id: None };
        append(gateway.log.as_ref(), new).await.map(drop).map_err(|error| error.into_problem("recording a download"))
    }

    /// Decides a command on the downloads of this gateway only.
    fn decide_alone(
        self: &Arc<Self>,
        gateway: &Gateway,
        context: &Context,
        issued: &DownloadTokenIssuedV1,
        command: Command,
    ) -> Result<Option<TokenEvent>, Problem> {
        let mut own = self.own();
        if own.issued.is_none() {
            evolve(&mut own, &issued.clone().into(), (context.clock)());
        }
        let event = decide(&own, command).map_err(|refusal| refused(&refusal))?;
        event.iter().for_each(|event| evolve(&mut own, event, (context.clock)()));
        gateway.tokens.kept.weigh(self, &own);
        Ok(event)
    }

    /// Locks the downloads of this gateway. The state is usable even after a panic of another holder; at worst a
    /// download is not counted.
    fn own(&self) -> MutexGuard<'_, State> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aggregate(&self) -> TokenAggregate {
        TokenAggregate { company: self.company, token: self.token }
    }
}
