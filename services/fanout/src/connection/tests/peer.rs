//! A client in memory for the tests of a connection.

use super::*;
use crate::fanout::Turn;
use crate::live::{Live, What};
use crate::socket::Incoming;
use crate::taken::{Snapshot, Taken};
use futures_util::Stream;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;
use uuid::Uuid;
use waybill_api::frames::Topic;
use waybill_http_kit::auth::IssuerConfig;
use waybill_schema::{CompanyId, Timestamp, UploadId, UserId};
use waybill_service_kit::Secrets;

/// Maximum time that a test waits for a frame. It is longer than the interval between two pings.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Number of frames for which the socket has room, as in actix-ws.
const ROOM: usize = 32;

/// The two ends of a connection.
#[derive(Default)]
struct Line {
    frames: VecDeque<Frame>,
    messages: VecDeque<Incoming>,
    /// Set when the client has closed the connection.
    is_left: bool,
    /// Set when the server has dropped the socket.
    is_dropped: bool,
    server: Option<Waker>,
    client: Option<Waker>,
}

impl Line {
    fn wake_server(&mut self) {
        self.server.take().into_iter().for_each(Waker::wake);
    }

    fn wake_client(&mut self) {
        self.client.take().into_iter().for_each(Waker::wake);
    }
}

/// Socket that records the frames.
pub(super) struct Recorder(Rc<RefCell<Line>>);

impl Stream for Recorder {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut line = self.0.borrow_mut();
        match line.messages.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None if line.is_left => Poll::Ready(None),
            None => {
                line.server = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Socket for Recorder {
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        let mut line = self.0.borrow_mut();
        if line.frames.len() < ROOM {
            return Poll::Ready(Ok(()));
        }
        line.server = Some(context.waker().clone());
        Poll::Pending
    }

    fn send(&mut self, frame: Frame) -> Result<(), Disconnected> {
        let mut line = self.0.borrow_mut();
        assert!(line.frames.len() < ROOM, "the connection asks for room first");
        line.frames.push_back(frame);
        line.wake_client();
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let mut line = self.0.borrow_mut();
        line.is_dropped = true;
        line.wake_client();
    }
}

/// The client's end of a connection.
pub(super) struct Peer {
    pub(super) fanout: Arc<Fanout>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) authenticator: Authenticator,
    line: Rc<RefCell<Line>>,
}

/// A frame from the server.
#[derive(Debug, PartialEq)]
pub(super) enum Sent {
    Text(Value),
    Ping,
    Pong(Bytes),
    Close(u16),
}

pub(super) fn upload() -> UploadId {
    UploadId(Uuid::from_u128(7))
}

pub(super) fn principal(good_for: Duration) -> Principal {
    let expires_at = Timestamp(wall_clock().0 + i64::try_from(good_for.as_millis()).unwrap());
    let (user_id, company_id) = (UserId(Uuid::from_u128(1)), CompanyId(Uuid::from_u128(2)));
    Principal { user_id, company_id, roles: Vec::new(), issued_at: None, expires_at, link: None }
}

/// Returns a user whose token outlives the test. A test with paused time can last many hours of the other clock.
pub(super) fn user() -> Principal {
    principal(Duration::from_secs(24 * 3_600))
}

/// Takes all permits for snapshots, so that further subscriptions wait until the permits are dropped.
pub(super) async fn all_turns(fanout: &Fanout) -> Vec<Turn<'_>> {
    let mut turns = Vec::new();
    while let Poll::Ready(turn) = futures_util::poll!(pin!(fanout.turn())) {
        turns.push(turn);
    }
    turns
}

impl Peer {
    /// Opens a connection of `principal`. Calls `prepare` before the connection runs.
    pub(super) async fn connect(principal: Principal, prepare: impl FnOnce(&mut Connection<Recorder>)) -> Self {
        Self::connect_to(Fanout::alone().await, principal, prepare).await
    }

    pub(super) async fn connect_to(
        fanout: Arc<Fanout>,
        principal: Principal,
        prepare: impl FnOnce(&mut Connection<Recorder>),
    ) -> Self {
        let line = Rc::<RefCell<Line>>::default();
        let mut socket = Recorder(line.clone());
        greet(&mut socket).await.unwrap();
        let client = Client { principal, id: RequestId { id: Uuid::nil(), address: None }, _slot: None };
        let secrets = Secrets::read("the secret of tokens", &"s".repeat(32), None).unwrap();
        let authenticator = Authenticator::hs256(&secrets, IssuerConfig::of("i", "a"));
        let shared = web::Data::new(authenticator.clone());
        let mut connection = Connection::open(fanout.clone(), shared, client, socket);
        prepare(&mut connection);
        let outbox = connection.outbox.clone();
        actix_web::rt::spawn(connection.run());
        Self { fanout, outbox, authenticator, line }
    }

    /// Opens a connection that watches an upload.
    pub(super) async fn watching() -> Self {
        Self::watching_as(user()).await
    }

    pub(super) async fn watching_as(principal: Principal) -> Self {
        let prepare = |connection: &mut Connection<Recorder>| {
            let topic = Topic::Upload(upload());
            let wish = connection.subscriptions.ask(1, topic).unwrap();
            let snapshot = Snapshot { epoch: "e".to_owned(), seq: 1, state: json!({}) };
            assert!(connection.outbox.hand_over(Taken { id: 1, wish, topic, outcome: Ok(snapshot) }));
        };
        let mut peer = Self::connect(principal, prepare).await;
        peer.expect("hello").await;
        peer.expect("snap").await;
        peer
    }

    /// Returns the next frame, or `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Sent> {
        let next = poll_fn(|context| {
            let mut line = self.line.borrow_mut();
            match line.frames.pop_front() {
                Some(frame) => {
                    line.wake_server();
                    Poll::Ready(Some(frame))
                }
                None if line.is_dropped => Poll::Ready(None),
                None => {
                    line.client = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        let frame = tokio::time::timeout(PATIENCE, next).await.expect("the server sends a frame in time");
        Some(match frame? {
            Frame::Text(text) => Sent::Text(serde_json::from_str(&text).unwrap()),
            Frame::Ping => Sent::Ping,
            Frame::Pong(bytes) => Sent::Pong(bytes),
            Frame::Close(close) => Sent::Close(close.code()),
        })
    }

    pub(super) async fn expect(&mut self, kind: &str) -> Value {
        match self.next().await {
            Some(Sent::Text(frame)) if frame["t"] == kind => frame,
            other => panic!("expected {kind}, got {other:?}"),
        }
    }

    /// Checks that the server closes the connection with `code` and nothing else.
    pub(super) async fn expect_close(&mut self, code: u16) {
        assert_eq!(self.next().await, Some(Sent::Close(code)));
        assert_eq!(self.next().await, None);
        assert!(self.outbox.has_ended());
    }

    /// Sends a text frame.
    pub(super) fn say(&self, frame: &Value) {
        self.send(Incoming::Text(frame.to_string().into()));
    }

    pub(super) fn send(&self, message: Incoming) {
        let mut line = self.line.borrow_mut();
        line.messages.push_back(message);
        line.wake_server();
    }

    /// Closes the client's end.
    pub(super) fn leave(&self) {
        let mut line = self.line.borrow_mut();
        line.is_left = true;
        line.wake_server();
    }

    pub(super) fn deliver(&self, seq: u64, what: What) {
        self.outbox.deliver(Topic::Upload(upload()), &Arc::new(Live::new(seq, what)));
    }
}
