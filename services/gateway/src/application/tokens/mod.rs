//! Download tokens: their text, their states and the running downloads.
//!
//! The text of a token is base64url of the company's id, the token's id and 256 random bits. Waybill stores only the
//! SHA-256 of the text.

pub(crate) mod kept;
pub(crate) mod running;

pub(crate) use kept::KeptToken;
pub(crate) use running::Sending;

use crate::http::problems::OrProblem;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use kept::KeptTokens;
use rand::RngCore;
use running::Running;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;
use waybill_data_plane::refused;
use waybill_domain::token::{Command, State, decide, evolve};
use waybill_event_log::{Expect, NewEvent, append};
use waybill_http_kit::Problem;
use waybill_repository::{Context, Repository};
use waybill_schema::events::{DownloadTokenIssued, TokenEvent};
use waybill_schema::{ByteRange, CompanyId, Entity, Routing, Sha256Digest, Subject, TokenId};
use waybill_service_kit::Secrets;

const SECRET_BYTES: usize = 32;
const TOKEN_BYTES: usize = 16 + 16 + SECRET_BYTES;

/// Download tokens in this gateway: cached states, running downloads and settings.
///
/// For a token with `max_downloads`, the gateway decides each download on the complete state and appends the event with
/// an expectation. The number of events to fold is bounded by `max_downloads`. A token without that limit needs no such
/// decision: each gateway counts its own downloads and appends events without an expectation to a separate subject,
/// which is not loaded for decisions.
pub(crate) struct Tokens {
    repository: Arc<Repository>,
    kept: KeptTokens,
    /// Downloads that this gateway is sending.
    running: Arc<Running>,
    /// Derive the secret of a token whose request can be repeated. The first one derives new tokens.
    secrets: Vec<Hmac<Sha256>>,
    /// `true` to redirect downloads of tokens without `max_downloads` to the object store.
    redirects: bool,
}

/// Download with a token that has begun.
#[derive(Clone)]
pub(crate) struct Download {
    pub(crate) token: Arc<KeptToken>,
    pub(crate) issued: DownloadTokenIssued,
    pub(crate) context: Context,
    /// Id of the request, which distinguishes the downloads of a token.
    pub(crate) request: Uuid,
}

impl Tokens {
    /// Creates the state with secrets that all gateways share.
    pub(crate) fn new(repository: Arc<Repository>, secrets: &Secrets, redirects: bool) -> Self {
        // HMAC accepts keys of any length.
        let key = |secret| Hmac::<Sha256>::new_from_slice(secret).ok().map(|key| key.chain_update(b"waybill tokens\0"));
        let secrets = secrets.all().filter_map(key).collect();
        Self { repository, kept: KeptTokens::new(), running: Arc::default(), secrets, redirects }
    }

    /// Returns `true` if a download of this token is redirected to the object store.
    pub(crate) fn is_redirected(&self, issued: &DownloadTokenIssued) -> bool {
        self.redirects && issued.max_downloads.is_none()
    }

    /// Returns the text of a new token with 256 random bits. For a request with an idempotency key, the bits are derived
    /// from that key and the token's id, so that a repeated request gets the same response.
    pub(crate) fn text(&self, company: CompanyId, id: TokenId, repeated_as: Option<&[u8]>) -> String {
        let derived = repeated_as.and_then(|key| self.derived(company, id, key).next());
        derived.unwrap_or_else(|| {
            let mut secret = [0; SECRET_BYTES];
            rand::rng().fill_bytes(&mut secret);
            text_of(company, id.0, &secret)
        })
    }

    /// Returns the text of a token that was issued for an earlier request with this idempotency key, possibly before the
    /// secrets were replaced.
    pub(crate) fn issued_text(
        &self,
        company: CompanyId,
        id: TokenId,
        repeated_as: &[u8],
        issued: &DownloadTokenIssued,
    ) -> Option<String> {
        self.derived(company, id, repeated_as).find(|text| hash(text) == issued.token_sha256)
    }

    fn derived(&self, company: CompanyId, id: TokenId, repeated_as: &[u8]) -> impl Iterator<Item = String> {
        self.secrets.iter().map(move |key| {
            let mac = key.clone().chain_update(id.0.as_bytes()).chain_update(repeated_as);
            text_of(company, id.0, &mac.finalize().into_bytes())
        })
    }

    /// Returns the token from the cache, and adds it with an empty state if it is not there.
    pub(crate) fn get(&self, company: CompanyId, token: TokenId) -> Arc<KeptToken> {
        self.kept.get(company, token)
    }

    /// Returns the current state of a token from the log. Does not hold the lock while it reads, so that commands do
    /// not wait for it.
    pub(crate) async fn look(&self, token: &Arc<KeptToken>) -> Result<State, Problem> {
        let mut seen = token.loaded.lock().await.clone();
        self.repository.refresh(&token.aggregate(), &mut seen).await.or_problem("loading a token")?;
        self.kept.weigh(token, &seen.state);
        let state = seen.state.clone();
        let mut loaded = token.loaded.lock().await;
        if seen.read_to > loaded.read_to {
            *loaded = seen;
        }
        Ok(state)
    }

    /// Executes a command on the complete state of a token. Returns the position and the new state.
    pub(crate) async fn run(
        &self,
        token: &Arc<KeptToken>,
        context: &Context,
        command: Command,
    ) -> Result<(String, State), Problem> {
        let mut loaded = token.loaded.lock().await;
        let done = self.repository.execute_from(&token.aggregate(), &mut loaded, command, context).await;
        self.kept.weigh(token, &loaded.state);
        let done = done.or_problem("changing a token")?;
        Ok((done.position.to_string(), loaded.state.clone()))
    }

    /// Records a change of a download, in the way that the token's `max_downloads` requires (see [`Tokens`]).
    pub(crate) async fn record(&self, download: &Download, command: Command) -> Result<(), Problem> {
        let Download { token, issued, context, .. } = download;
        if issued.max_downloads.is_some() {
            return self.run(token, context, command).await.map(drop);
        }
        let Some(event) = self.decide_alone(download, command)? else { return Ok(()) };
        let subject = Subject::new(token.company, Entity::TokenDownloads(token.token));
        let envelope = context.envelope(Routing::default());
        let new = NewEvent { subject, envelope, event: event.into(), expect: Expect::Any, message_id: None };
        append(self.repository.log(), new).await.map(drop).or_problem("recording a download")
    }

    /// Decides a command on the downloads of this gateway only.
    fn decide_alone(&self, download: &Download, command: Command) -> Result<Option<TokenEvent>, Problem> {
        let Download { token, issued, context, .. } = download;
        let mut own = token.own();
        if own.issued.is_none() {
            evolve(&mut own, &issued.clone().into(), (context.clock)());
        }
        let event = decide(&own, command).map_err(refused)?;
        event.iter().for_each(|event| evolve(&mut own, event, (context.clock)()));
        self.kept.weigh(token, &own);
        Ok(event)
    }

    /// Waits until the running downloads of a token have ended ([`Running::wait`]).
    pub(crate) async fn wait_for_others(&self, token: &KeptToken) -> Option<BTreeSet<Uuid>> {
        self.running.wait(token.token).await
    }

    /// Registers a response that sends `range`. After the response has ended, the log gets the range that was sent.
    pub(crate) fn begin_sending(self: &Arc<Self>, download: Download, range: ByteRange) -> Sending {
        let (tokens, token, request) = (self.clone(), download.token.token, download.request);
        let on_end = move |sent| async move { tokens.end(&download, sent).await }.boxed();
        self.running.begin(token, request, range, Box::new(on_end))
    }

    /// Records the range that a response has sent. If the append fails, the whole range still counts as sent, and the
    /// download does not count as delivered.
    pub(crate) async fn end(&self, download: &Download, sent: ByteRange) {
        let told = self.record(download, Command::EndServing { request: download.request, sent }).await;
        if let Err(problem) = told {
            let token_id = download.token.token;
            tracing::warn!(%token_id, code = problem.code.as_str(), "cannot record the end of a download");
        }
    }
}

/// Reads the company and the id from the text of a download token or an upload link. The caller must compare the hash of the text to find
/// out if the token is valid.
pub(crate) fn parse(text: &str) -> Option<(CompanyId, Uuid)> {
    let bytes = BASE64URL.decode(text).ok().filter(|bytes| bytes.len() == TOKEN_BYTES)?;
    let uuid = |from: usize| Uuid::from_slice(bytes.get(from..from + 16)?).ok();
    Some((CompanyId(uuid(0)?), uuid(16)?))
}

/// Returns the text of a token with these 256 bits.
pub(crate) fn text_of(company: CompanyId, id: Uuid, secret: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(TOKEN_BYTES);
    bytes.extend(company.0.as_bytes());
    bytes.extend(id.as_bytes());
    bytes.extend(secret);
    BASE64URL.encode(bytes)
}

/// Returns the digest that Waybill stores instead of the text of a token.
pub(crate) fn hash(text: &str) -> Sha256Digest {
    Sha256Digest(Sha256::digest(text.as_bytes()).into())
}
