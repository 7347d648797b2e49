//! One WebSocket connection. A single task owns the socket. When the task is woken, it does all pending work and then
//! sleeps until its outbox, its client or its timer wakes it.

mod commands;

use crate::access::{keeps_all, keeps_places, limited_to};
use crate::fanout::Fanout;
use crate::hub::Watcher;
use crate::outbox::{Next, Outbox, pop};
use crate::socket::{Disconnected, Frame, Socket};
use crate::subscriptions::Subscriptions;
use crate::timing::{HEARTBEAT, Timing};
use actix_web::web;
use futures_util::StreamExt;
use prometheus::IntGauge;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use waybill_api::frames::{Close, Refusal, ServerFrame};
use waybill_http_kit::slots::Slot;
use waybill_http_kit::{Authenticator, Principal, Problem, RequestId};
use waybill_service_kit::metrics::gauge;
use waybill_service_kit::new_id;
use waybill_service_kit::now as wall_clock;

/// Open WebSocket connections.
static SOCKETS: LazyLock<IntGauge> = LazyLock::new(|| gauge("waybill_websockets", "Open WebSocket connections"));

/// Number of unsent frames from which on no more frames are read from the client. A client must read the answers to its
/// requests.
const UNSENT_MAX: usize = 32;
/// Time after which a client may reconnect after a restart of the server, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// The client of a connection.
pub(crate) struct Client {
    pub(crate) principal: Principal,
    /// Id of the handshake request.
    pub(crate) id: RequestId,
    /// Place of the connection among those of its company and address.
    pub(crate) _slot: Option<Slot>,
}

/// Sends `hello`. If the caller sends the response to the handshake afterwards, both go out in one write.
///
/// # Errors
/// 500 if the socket does not accept the frame.
pub(crate) async fn greet(socket: &mut impl Socket) -> Result<(), Problem> {
    let hello = ServerFrame::Hello { conn: new_id().to_string(), heartbeat_s: HEARTBEAT.as_secs() };
    let text = serde_json::to_string(&hello).map_err(|_| Problem::internal())?;
    let failed = |_: Disconnected| Problem::internal();
    poll_fn(|context| socket.poll_room(context)).await.map_err(failed)?;
    socket.send(Frame::Text(text.into())).map_err(failed)
}

/// State of a connection.
pub(crate) struct Connection<S: Socket> {
    fanout: Arc<Fanout>,
    authenticator: web::Data<Authenticator>,
    client: Client,
    socket: S,
    number: u64,
    outbox: Arc<Outbox>,
    subscriptions: Subscriptions,
    /// Frames to send. Nothing is taken from the outbox until all of them are sent.
    unsent: VecDeque<Frame>,
    /// Beginning of the current second, and the number of frames that arrived in it.
    commands: (Instant, u32),
    timing: Timing,
    /// Set when only the close frame is left to send.
    is_closing: bool,
}

/// Result of one step.
enum Step {
    /// Some work was done, and there may be more.
    Done,
    /// There is no work, or no room for its result.
    Idle,
    /// The connection must make an asynchronous check.
    Look(Look),
}

/// An asynchronous check. Checks are rare, so their future is boxed.
enum Look {
    /// Check whether the client still has access, after the log has been read up to this sequence.
    Recheck(u64),
    /// Check a new token from the client.
    Token(String),
}

impl<S: Socket> Connection<S> {
    /// Creates the connection of a client. It closes immediately if the user has too many connections.
    pub(crate) fn open(
        fanout: Arc<Fanout>,
        authenticator: web::Data<Authenticator>,
        client: Client,
        socket: S,
    ) -> Box<Self> {
        SOCKETS.inc();
        let (number, outbox, now) = (fanout.next_connection(), Arc::<Outbox>::default(), Instant::now());
        let has_entered = fanout.hub.clients.enter(number, &client.principal, &outbox);
        let timing = Timing::new(fanout.began, now);
        let mut connection = Box::new(Self {
            fanout,
            authenticator,
            client,
            socket,
            number,
            outbox,
            subscriptions: Subscriptions::default(),
            unsent: VecDeque::new(),
            commands: (now, 0),
            timing,
            is_closing: false,
        });
        if !has_entered {
            connection.close(Close::TooMany);
        }
        connection
    }

    /// Serves the connection until it ends. Rare work is boxed to keep the future small, because thousands of
    /// connections sleep at the same time.
    ///
    /// The inputs of the loop are:
    ///
    /// - messages of the client, and the end of their stream ([`Socket`] as a stream),
    /// - room for a frame, or the lack of it ([`Socket::poll_room`]),
    /// - the outbox: transitions, progress, results of wishes, requests to check access again, and the stop of the
    ///   process ([`Outbox`]),
    /// - the clock, for pings and their answers, blocked frames and the pace of progress ([`Timing`]),
    /// - the wall clock, for the expiry of the token,
    /// - the results of asynchronous checks ([`Look`]). The connection sends and reads nothing until it has the result,
    ///   so a client that has lost access receives nothing more.
    ///
    /// Its outputs are frames ([`Socket::send`]), wishes, and changes of the topics that the hub knows.
    pub(crate) async fn run(mut self: Box<Self>) {
        let mut timer = pin!(sleep_until(Instant::now() + HEARTBEAT));
        while let Some(look) = poll_fn(|context| self.poll(context, timer.as_mut())).await {
            if let Err(close) = Box::pin(self.look(look)).await {
                self.close(close);
            }
        }
    }

    /// Does all pending work. Returns an asynchronous check to make, or `None` when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Option<Look>> {
        loop {
            let now = Instant::now();
            let step = if self.is_closing { self.send(context, now) } else { self.step(context, now) };
            match step {
                Ok(Step::Done) => {}
                Ok(Step::Look(look)) => return Poll::Ready(Some(look)),
                Ok(Step::Idle) if self.is_closing && self.unsent.is_empty() => return Poll::Ready(None),
                Ok(Step::Idle) => {
                    let until = self.next_time(now);
                    if timer.deadline() != until {
                        timer.as_mut().reset(until);
                    }
                    ready!(timer.as_mut().poll(context));
                }
                Err(_) if self.is_closing => return Poll::Ready(None),
                Err(close) => self.close(close),
            }
        }
    }

    /// Does the most urgent work. Reasons to end the connection come before data, however much data there is.
    fn step(&mut self, context: &mut Context<'_>, now: Instant) -> Result<Step, Close> {
        if self.token_left().is_zero() {
            return Err(Close::TokenExpired);
        }
        if self.unsent.len() < UNSENT_MAX
            && let Poll::Ready(message) = self.socket.poll_next_unpin(context)
        {
            return self.heard(message, now);
        }
        if self.timing.is_silent(now) {
            return Err(Close::Gone);
        }
        if self.timing.takes_ping(now) {
            self.unsent.push_back(Frame::Ping);
        }
        let has_room = self.unsent.is_empty();
        match self.outbox.poll_next(context, has_room) {
            Poll::Ready(Next::End(close)) => return Err(close),
            Poll::Ready(Next::Recheck(seq)) => return Ok(Step::Look(Look::Recheck(seq))),
            Poll::Ready(Next::Taken(taken)) => self.begin(taken),
            Poll::Ready(Next::Transition(topic, live)) => {
                let frames = self.subscriptions.transition(topic, &live)?;
                self.push(frames);
            }
            Poll::Pending if has_room && self.timing.lets_progress(now) => self.progress(now),
            Poll::Pending => {}
        }
        self.send(context, now)
    }

    /// Sends the next frame if there is one and if the socket has room for it.
    fn send(&mut self, context: &mut Context<'_>, now: Instant) -> Result<Step, Close> {
        if self.unsent.is_empty() {
            return Ok(Step::Idle);
        }
        match self.socket.poll_room(context) {
            Poll::Ready(Ok(())) => self.timing.unblocked(now),
            Poll::Ready(Err(Disconnected)) => return Err(Close::Gone),
            Poll::Pending if self.timing.blocked(now) => return Err(Close::TooSlow),
            Poll::Pending => return Ok(Step::Idle),
        }
        if let Some(frame) = pop(&mut self.unsent) {
            if frame == Frame::Ping {
                self.timing.pinged(now);
            }
            self.socket.send(frame).map_err(|Disconnected| Close::Gone)?;
        }
        Ok(Step::Done)
    }

    /// Returns the time at which the connection must wake up if nothing wakes it earlier.
    fn next_time(&self, now: Instant) -> Instant {
        if self.is_closing {
            return self.timing.blocked_until().unwrap_or(now);
        }
        // Progress is sent only after the unsent frames.
        let has_progress = self.unsent.is_empty() && self.outbox.has_progress();
        self.timing.next(now, self.token_left(), has_progress)
    }

    /// Returns the time until the token expires.
    fn token_left(&self) -> Duration {
        let left_ms = self.client.principal.expires_at.0.saturating_sub(wall_clock().0);
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
    }

    /// Adds frames to the unsent ones.
    fn push(&mut self, frames: impl IntoIterator<Item = ServerFrame>) {
        let texts = frames.into_iter().filter_map(|frame| serde_json::to_string(&frame).ok());
        self.unsent.extend(texts.map(|text| Frame::Text(text.into())));
    }

    /// Adds the newest figures to the unsent frames.
    fn progress(&mut self, now: Instant) {
        let newest = self.outbox.take_progress();
        if newest.is_empty() {
            return;
        }
        self.timing.progressed(now);
        let frames = self.subscriptions.progress(newest);
        self.push(frames);
    }

    /// Begins to close the connection: drops the unsent frames and adds frames that tell the reason.
    fn close(&mut self, close: Close) {
        self.is_closing = true;
        self.unsent.clear();
        self.timing.gave_up();
        self.let_go();
        if close == Close::Restart {
            // A client that ignores this frame gets the same information from the code of the close frame.
            self.push([ServerFrame::Bye { retry_ms: RETRY_MS }]);
        }
        if close != Close::Gone {
            self.unsent.push_back(Frame::Close(close));
        }
    }

    /// Stops watching all topics.
    fn let_go(&mut self) {
        let (left, subscriptions) = (self.outbox.end(), std::mem::take(&mut self.subscriptions));
        for topic in subscriptions.topics().into_iter().chain(left) {
            self.fanout.hub.unwatch(self.client.principal.company_id, topic, self.number);
        }
    }

    /// Makes an asynchronous check.
    async fn look(&mut self, look: Look) -> Result<(), Close> {
        match look {
            Look::Recheck(seq) => self.recheck(seq).await,
            Look::Token(token) => self.renew(&token).await,
        }
    }

    /// Checks whether the client may still watch its topics, after event `seq` may have ended its access.
    async fn recheck(&mut self, seq: u64) -> Result<(), Close> {
        let Client { principal, .. } = &self.client;
        let topics = self.subscriptions.topics();
        let looked = async {
            self.fanout.access.reach(principal.company_id, seq).await?;
            // Further events that arrive meanwhile lead to one more check, however many they are.
            let _turn = self.fanout.recheck_turn().await;
            keeps_places(&self.fanout, principal, &topics).await
        };
        match looked.await {
            Ok(Some(kept)) => {
                for (topic, since) in kept {
                    let user_id = limited_to(principal);
                    let watcher = Watcher { conn: self.number, outbox: self.outbox.clone(), since, user_id };
                    self.fanout.hub.watch(principal.company_id, topic, watcher);
                }
                Ok(())
            }
            // If the check fails, the connection closes. The client reconnects, and access is checked then.
            Ok(None) | Err(_) => Err(Close::AccessLost),
        }
    }

    /// Replaces the token with a new one, which must be of the same user and company. It must not have been issued
    /// earlier than the current one, because the host product may have invalidated earlier tokens.
    async fn renew(&mut self, token: &str) -> Result<(), Close> {
        let Client { principal, .. } = &mut self.client;
        let fresh = self.authenticator.authenticate(token).await.ok();
        let same = |fresh: &Principal| (fresh.user_id, fresh.company_id) == (principal.user_id, principal.company_id);
        let is_older = |fresh: &Principal| fresh.issued_at < principal.issued_at;
        let Some(fresh) = fresh.filter(same).filter(|fresh| !fresh.is_host() && !is_older(fresh)) else {
            self.refuse(None, Refusal::TokenInvalid);
            return Ok(());
        };
        let has_less = principal.roles.iter().any(|role| !fresh.roles.contains(role));
        *principal = fresh;
        if has_less && !keeps_all(&self.fanout, principal, &self.subscriptions.topics()).await.unwrap_or(false) {
            return Err(Close::AccessLost);
        }
        Ok(())
    }
}

impl<S: Socket> Drop for Connection<S> {
    fn drop(&mut self) {
        self.let_go();
        self.fanout.hub.clients.leave(self.number, &self.client.principal);
        SOCKETS.dec();
    }
}

#[cfg(test)]
mod tests;
