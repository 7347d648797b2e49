//! Downloads by token that this gateway is sending. A second request for the same token waits here until they end.

use bytes::Bytes;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;
use waybill_object_store::StoreError;
use waybill_schema::{ByteRange, TokenId};

/// Maximum time that a request waits for the end of a running download.
const PATIENCE: Duration = Duration::from_secs(4);

/// Minimum time that a request waits, so that other concurrent requests arrive before it continues.
const AT_LEAST: Duration = Duration::from_millis(1_100);

/// A client that takes no byte for this time counts as gone, for example because it has changed networks.
const STALLED: Duration = Duration::from_secs(2);

/// Records the range that a response has sent.
pub(super) type OnEnd = Box<dyn FnOnce(ByteRange) -> BoxFuture<'static, ()> + Send>;

/// Running downloads by token.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<TokenId, OfToken>>);

#[derive(Default)]
struct OfToken {
    answers: HashMap<Uuid, Arc<Answer>>,
    /// Present while a request waits. The flag is `true` if other requests arrived meanwhile.
    waiting: Option<Arc<AtomicBool>>,
    changed: Arc<Notify>,
}

/// Response that is sending a file.
struct Answer {
    moved_at: Mutex<Instant>,
    is_cut: AtomicBool,
}

impl Answer {
    fn has_stalled(&self) -> bool {
        self.moved_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= STALLED
    }
}

impl Running {
    fn locked(&self) -> MutexGuard<'_, HashMap<TokenId, OfToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a response that sends this range. `on_end` runs after the response has ended.
    pub(super) fn begin(self: &Arc<Self>, token: TokenId, request: Uuid, range: ByteRange, on_end: OnEnd) -> Sending {
        let answer = Arc::new(Answer { moved_at: Mutex::new(Instant::now()), is_cut: AtomicBool::new(false) });
        self.locked().entry(token).or_default().answers.insert(request, answer.clone());
        Sending {
            running: self.clone(),
            token,
            request,
            answer,
            sent: ByteRange { to: range.from, ..range },
            on_end: Some(on_end),
        }
    }

    /// Waits until the running downloads of a token have ended. Cuts downloads that have stalled, and returns their
    /// request ids. Returns `None` if a download is still running after [`PATIENCE`], or if more than one request
    /// waits, because several waiting requests do not come from one person.
    pub(super) async fn wait(&self, token: TokenId) -> Option<BTreeSet<Uuid>> {
        let (others_came, changed) = {
            let mut tokens = self.locked();
            let of_token = tokens.entry(token).or_default();
            if let Some(others_came) = &of_token.waiting {
                others_came.store(true, Ordering::SeqCst);
                return None;
            }
            let others_came = Arc::new(AtomicBool::new(false));
            of_token.waiting = Some(others_came.clone());
            (others_came, of_token.changed.clone())
        };
        let begun = Instant::now();
        let waiting = Waiting { running: self, token };
        let stopped = loop {
            let notified = changed.notified();
            let stopped = self.stopped(token);
            if begun.elapsed() >= AT_LEAST && stopped.is_some() {
                break stopped;
            }
            if begun.elapsed() >= PATIENCE {
                break None;
            }
            drop(tokio::time::timeout(Duration::from_millis(100), notified).await);
        };
        drop(waiting);
        stopped.filter(|_| !others_came.load(Ordering::SeqCst))
    }

    /// Cuts the stalled downloads and returns their request ids; `None` if another download is still running.
    fn stopped(&self, token: TokenId) -> Option<BTreeSet<Uuid>> {
        let tokens = self.locked();
        let answers = tokens.get(&token).map(|of_token| &of_token.answers);
        let mut stopped = BTreeSet::new();
        for (request, answer) in answers.into_iter().flatten() {
            if !answer.has_stalled() {
                return None;
            }
            answer.is_cut.store(true, Ordering::SeqCst);
            stopped.insert(*request);
        }
        Some(stopped)
    }

    fn tidy(tokens: &mut HashMap<TokenId, OfToken>, token: TokenId) {
        if tokens.get(&token).is_some_and(|of_token| of_token.answers.is_empty() && of_token.waiting.is_none()) {
            tokens.remove(&token);
        }
    }
}

/// Guard of a waiting request. Dropping it ends the wait, even if the connection breaks.
struct Waiting<'a> {
    running: &'a Running,
    token: TokenId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut tokens = self.running.locked();
        if let Some(of_token) = tokens.get_mut(&self.token) {
            of_token.waiting = None;
        }
        Running::tidy(&mut tokens, self.token);
    }
}

/// Guard of a response that is being sent. Dropping it records the sent bytes.
pub(crate) struct Sending {
    running: Arc<Running>,
    token: TokenId,
    request: Uuid,
    answer: Arc<Answer>,
    sent: ByteRange,
    on_end: Option<OnEnd>,
}

impl Sending {
    /// Wraps the body and counts the bytes that the client takes. Ends the body with an error if the download was cut.
    pub(crate) fn note(
        mut self,
        body: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
        let mut body = Box::pin(body);
        futures_util::stream::poll_fn(move |context: &mut Context<'_>| {
            if self.answer.is_cut.load(Ordering::SeqCst) {
                let reason = "another request continues the download".to_owned();
                return Poll::Ready(Some(Err(StoreError::Unavailable { operation: "sending a file", reason })));
            }
            let polled = Pin::new(&mut body).poll_next(context);
            if let Poll::Ready(Some(Ok(bytes))) = &polled {
                self.sent.to += bytes.len() as u64;
            }
            *self.answer.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            polled
        })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let (running, token, request, sent) = (self.running.clone(), self.token, self.request, self.sent);
        let Some(on_end) = self.on_end.take() else { return };
        let end = async move {
            on_end(sent).await;
            let mut tokens = running.locked();
            if let Some(of_token) = tokens.get_mut(&token) {
                of_token.answers.remove(&request);
                of_token.changed.notify_waiters();
            }
            Running::tidy(&mut tokens, token);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end);
        }
    }
}
