//! One WebSocket connection. A single task owns the socket; each send has its time.

use crate::access::{keeps_all, keeps_places, may_watch};
use crate::guard::TooBig;
use crate::hub::Outbox;
use crate::live::Live;
use crate::protocol::{ClientFrame, Close, ServerFrame, Topic};
use crate::server::Fanout;
use crate::snapshot::{self, Snapshot};
use crate::subscriptions::Subscriptions;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseReason, ProtocolError, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use uuid::Uuid;
use waybill_access::refusals::Refused;
use waybill_event_log::ReadError;
use waybill_schema::{Aggregate, CompanyId, Subject, UploadId};
use waybill_service_kit::metrics::SOCKETS;
use waybill_service_kit::{Authenticator, Principal, Problem, RequestId, now};

const HEARTBEAT: Duration = Duration::from_secs(25);
/// How long a client may take to answer a ping.
const PONG_WITHIN: Duration = Duration::from_secs(8);
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Progress is sent this often at most.
const TICK: Duration = Duration::from_millis(100);
const COMMANDS_PER_S: u32 = 20;
/// When a client that was sent away for a restart may come back.
const RETRY_MS: u64 = 1_000;

/// What became of a wish for a topic: the client's id, the wish's number, the snapshot or why there is none.
type Taken = (u64, u64, Topic, Result<Snapshot, &'static str>);

pub(crate) struct Connection {
    pub(crate) fanout: Arc<Fanout>,
    pub(crate) authenticator: Authenticator,
    pub(crate) principal: Principal,
    request: RequestId,
    too_big: TooBig,
    pub(crate) session: Session,
    number: u64,
    outbox: Arc<Outbox>,
    subscriptions: Subscriptions,
    snapshots: mpsc::Sender<Taken>,
    commands: (Instant, u32),
    heard_at: Instant,
}

/// Who has connected, by which request, and whether they sent more than they may.
pub(crate) struct Client {
    pub(crate) principal: Principal,
    pub(crate) id: RequestId,
    pub(crate) too_big: TooBig,
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    fanout: Arc<Fanout>,
    authenticator: Authenticator,
    client: Client,
    session: Session,
    inbound: AggregatedMessageStream,
) {
    let Client { principal, id, too_big } = client;
    SOCKETS.inc();
    let (outbox, transitions) = Outbox::new();
    let (snapshots, taken) = mpsc::channel(8);
    let number = fanout.next_connection();
    fanout.hub.enter(number, &principal, &outbox);
    let hub = fanout.hub.clone();
    let connection = Connection {
        fanout,
        authenticator,
        principal,
        request: id,
        too_big,
        session,
        number,
        outbox,
        subscriptions: Subscriptions::default(),
        snapshots,
        commands: (Instant::now(), 0),
        heard_at: Instant::now(),
    };
    connection.run(inbound, transitions, taken).await;
    hub.leave(number);
    SOCKETS.dec();
}

impl Connection {
    async fn run(
        mut self,
        mut inbound: AggregatedMessageStream,
        mut transitions: mpsc::Receiver<(Topic, Arc<Live>)>,
        mut taken: mpsc::Receiver<Taken>,
    ) {
        let hello = ServerFrame::Hello { conn: Uuid::now_v7().to_string(), heartbeat_s: HEARTBEAT.as_secs() };
        let mut close = self.send(vec![hello]).await.err();
        let mut tick = tokio::time::interval(TICK);
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        let shutdown = self.fanout.shutdown.clone();
        while close.is_none() {
            let outcome = tokio::select! {
                biased;
                () = shutdown.triggered() => {
                    // A client that does not hear it any more is told by the close, too.
                    self.send(vec![ServerFrame::Bye { retry_ms: RETRY_MS }]).await.and(Err(Close::Restart))
                }
                // What ends a connection comes before what flows over it, however much that is.
                _ = tick.tick() => self.tick().await,
                _ = heartbeat.tick() => self.ping().await,
                message = inbound.recv() => self.heard(message).await,
                Some((topic, live)) = transitions.recv() => {
                    self.transition(topic, &live).await
                }
                Some(taken) = taken.recv() => self.snapshot(taken).await,
            };
            close = outcome.err();
        }
        for topic in self.subscriptions.topics() {
            self.fanout.hub.unwatch(self.principal.company_id, topic, self.number);
        }
        if let Some(close) = close.filter(|close| *close != Close::Gone) {
            let reason = CloseReason { code: close.code().into(), description: None };
            drop(tokio::time::timeout(SEND_TIMEOUT, self.session.close(Some(reason))).await);
        }
    }

    async fn send(&mut self, frames: Vec<ServerFrame>) -> Result<(), Close> {
        for frame in frames {
            let text = serde_json::to_string(&frame).map_err(|_| Close::Gone)?;
            let sent = tokio::time::timeout(SEND_TIMEOUT, self.session.text(text)).await;
            sent.map_err(|_| Close::TooSlow)?.map_err(|_| Close::Gone)?;
        }
        Ok(())
    }

    async fn transition(&mut self, topic: Topic, live: &Arc<Live>) -> Result<(), Close> {
        let frames = self.subscriptions.transition(topic, live)?;
        self.send(frames).await
    }

    async fn tick(&mut self) -> Result<(), Close> {
        if self.outbox.overflowed() {
            return Err(Close::TooSlow);
        }
        if self.principal.expires_at <= now() {
            return Err(Close::TokenExpired);
        }
        if self.heard_at.elapsed() > HEARTBEAT + PONG_WITHIN {
            return Err(Close::Gone);
        }
        self.recheck().await?;
        let frames = self.subscriptions.progress(&self.outbox);
        self.send(frames).await
    }

    /// Looks again whether the client may watch what it watches, where something has happened that could end it.
    async fn recheck(&mut self) -> Result<(), Close> {
        let Some(seq) = self.outbox.take_recheck() else { return Ok(()) };
        let topics = self.subscriptions.topics();
        let looked = async {
            self.fanout.access.reach(self.principal.company_id, seq).await?;
            keeps_places(&self.fanout, &self.principal, &topics).await
        };
        match looked.await {
            Ok(Some(kept)) => {
                for (topic, since) in kept {
                    let watched = (self.principal.company_id, topic, since);
                    self.fanout.hub.watch(watched, self.number, &self.outbox);
                }
                Ok(())
            }
            // Closed rather than open: where it cannot be told, the client comes back and is asked anew.
            Ok(None) | Err(_) => Err(Close::AccessLost),
        }
    }

    async fn ping(&mut self) -> Result<(), Close> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.session.ping(b"")).await;
        sent.map_err(|_| Close::TooSlow)?.map_err(|_| Close::Gone)
    }

    async fn heard(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), Close> {
        self.heard_at = Instant::now();
        match message {
            Some(Ok(AggregatedMessage::Text(text))) => self.command(&text).await,
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                self.count()?;
                let sent = tokio::time::timeout(SEND_TIMEOUT, self.session.pong(&bytes)).await;
                sent.map_err(|_| Close::TooSlow)?.map_err(|_| Close::Gone)
            }
            Some(Ok(AggregatedMessage::Pong(_))) => self.count(),
            Some(Ok(AggregatedMessage::Binary(_))) => self.refuse(None, "frame_invalid").await,
            Some(Err(ProtocolError::Overflow)) => Err(Close::TooBig),
            Some(Err(_)) if self.too_big.get() => Err(Close::TooBig),
            Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => Err(Close::Gone),
        }
    }

    /// One more frame of the client.
    fn count(&mut self) -> Result<(), Close> {
        if self.commands.0.elapsed() >= Duration::from_secs(1) {
            self.commands = (Instant::now(), 0);
        }
        self.commands.1 += 1;
        if self.commands.1 > COMMANDS_PER_S {
            return Err(Close::TooMany);
        }
        Ok(())
    }

    async fn command(&mut self, text: &str) -> Result<(), Close> {
        self.count()?;
        match serde_json::from_str::<ClientFrame>(text) {
            Ok(ClientFrame::Sub { id, topic, from }) => {
                let Ok(topic) = topic.parse::<Topic>() else {
                    self.keep_refusal(&topic);
                    return self.refuse(Some(id), "not_found").await;
                };
                let wish = match self.subscriptions.ask(id, topic) {
                    Ok(wish) => wish,
                    Err(code) => return self.refuse(Some(id), code).await,
                };
                if from.is_some() {
                    self.send(vec![ServerFrame::Reset { id }]).await?;
                }
                self.begin(id, wish, topic);
                Ok(())
            }
            Ok(ClientFrame::Unsub { id }) => {
                self.forget(id);
                Ok(())
            }
            Ok(ClientFrame::Auth { token }) => match self.authenticator.authenticate(&token).await {
                Ok(fresh) if self.is_same(&fresh) => {
                    let has_less = self.principal.roles.iter().any(|role| !fresh.roles.contains(role));
                    self.principal = fresh;
                    let topics = self.subscriptions.topics();
                    match has_less {
                        false => Ok(()),
                        true => match keeps_all(&self.fanout, &self.principal, &topics).await {
                            Ok(true) => Ok(()),
                            Ok(false) | Err(_) => Err(Close::AccessLost),
                        },
                    }
                }
                _ => self.refuse(None, "token_invalid").await,
            },
            Ok(ClientFrame::Pong) => Ok(()),
            Err(_) => self.refuse(None, "frame_invalid").await,
        }
    }

    /// A fresh token must be of the same user.
    fn is_same(&self, fresh: &Principal) -> bool {
        fresh.user_id == self.principal.user_id && fresh.company_id == self.principal.company_id
    }

    /// For auditors: somebody asked for what is not theirs, or not there.
    fn keep_refusal(&self, topic: &str) {
        let refused = Refused::new(&self.principal, self.request, "SUB", topic);
        self.fanout.refusals.keep(refused, &Problem::not_found("topic"));
    }

    async fn refuse(&mut self, id: Option<u64>, code: &'static str) -> Result<(), Close> {
        self.send(vec![ServerFrame::Err { id, code }]).await
    }

    /// Watches first, so that nothing is missed, and then takes the snapshot, beside the loop.
    fn begin(&self, id: u64, wish: u64, topic: Topic) {
        let (fanout, principal) = (self.fanout.clone(), self.principal.clone());
        let (outbox, number, answer) = (self.outbox.clone(), self.number, self.snapshots.clone());
        actix_web::rt::spawn(async move {
            let outcome = take(&fanout, &principal, topic, number, &outbox).await;
            if answer.send((id, wish, topic, outcome)).await.is_err() {
                // The connection has ended meanwhile, and did not know that it watches.
                fanout.hub.unwatch(principal.company_id, topic, number);
            }
        });
    }

    async fn snapshot(&mut self, (id, wish, topic, snapshot): Taken) -> Result<(), Close> {
        if !self.subscriptions.waits(id, wish) {
            // The client has thought better of it.
            if !self.subscriptions.has(topic) {
                self.fanout.hub.unwatch(self.principal.company_id, topic, self.number);
            }
            return Ok(());
        }
        match snapshot {
            Ok(snapshot) => {
                let frames = self.subscriptions.begin(id, snapshot);
                self.send(frames).await
            }
            Err(code) => {
                if code == "not_found" {
                    self.keep_refusal(&topic.to_string());
                }
                self.forget(id);
                self.refuse(Some(id), code).await
            }
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(topic) = self.subscriptions.remove(id) {
            self.fanout.hub.unwatch(self.principal.company_id, topic, self.number);
        }
    }
}

/// The last event about an upload and its file.
async fn last_event(fanout: &Fanout, company: CompanyId, upload: UploadId) -> Result<u64, ReadError> {
    let mut last = 0;
    for aggregate in [Aggregate::UploadLifecycle, Aggregate::UploadChunks, Aggregate::File] {
        let event = fanout.log.last(Subject::new(company, aggregate(upload))).await?;
        last = last.max(event.map_or(0, |event| event.position.seq));
    }
    Ok(last)
}

async fn take(
    fanout: &Fanout,
    principal: &Principal,
    topic: Topic,
    number: u64,
    outbox: &Arc<Outbox>,
) -> Result<Snapshot, &'static str> {
    let allowed = may_watch(fanout, principal, topic).await.map_err(|_| "unavailable")?;
    let allowed = allowed.ok_or("not_found")?;
    let partition = fanout.log.partitions().of(principal.company_id);
    let handed_out = fanout.hub.watch((principal.company_id, topic, allowed.since), number, outbox);
    // Whoever lost their access before they were among those who are told so, is told now.
    if may_watch(fanout, principal, topic).await.map_err(|_| "unavailable")?.is_none() {
        return Err("not_found");
    }
    // Of what was handed out before, the snapshot must have what is about the topic.
    let about = match topic {
        Topic::Upload(upload) => last_event(fanout, principal.company_id, upload).await.map_err(|_| "unavailable")?,
        _ => handed_out,
    };
    let at_least = allowed.read_to.max(about);
    let taken = snapshot::take(fanout, principal, partition, topic, at_least).await;
    taken.map_err(|_| "unavailable")?.ok_or("lagging")
}
