//! Tests of a connection without a network. The tests read the server's frames from the body of the handshake response.

use super::*;
use crate::live::{Live, What};
use crate::protocol::{ProgressFacts, Topic};
use crate::taken::{Snapshot, Taken};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::test::TestRequest;
use actix_web::{FromRequest, dev};
use serde_json::{Map, Value, json};
use std::task::Waker;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use waybill_schema::{CompanyId, Timestamp, UploadId, UserId};

/// Maximum time that a test waits for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

/// The client's end of a connection.
struct Peer {
    fanout: Arc<Fanout>,
    outbox: Arc<Outbox>,
    body: BoxBody,
    received: Vec<u8>,
    sender: UnboundedSender<Vec<u8>>,
}

/// A frame from the server.
#[derive(Debug, PartialEq)]
enum Sent {
    Text(Value),
    Ping,
    Close(u16),
}

fn upload() -> UploadId {
    UploadId(Uuid::from_u128(7))
}

fn principal(good_for: Duration) -> Principal {
    let expires_at = Timestamp(wall_clock().0 + i64::try_from(good_for.as_millis()).unwrap());
    let (user_id, company_id) = (UserId(Uuid::from_u128(1)), CompanyId(Uuid::from_u128(2)));
    Principal { user_id, company_id, roles: Vec::new(), expires_at }
}

impl Peer {
    /// Opens a connection whose token is valid for `good_for`. Calls `prepare` before the connection runs.
    async fn connect(good_for: Duration, prepare: impl FnOnce(&mut Connection)) -> Self {
        Self::connect_to(Fanout::alone().await, good_for, prepare).await
    }

    async fn connect_to(fanout: Arc<Fanout>, good_for: Duration, prepare: impl FnOnce(&mut Connection)) -> Self {
        let request = TestRequest::get()
            .insert_header(("Connection", "upgrade"))
            .insert_header(("Upgrade", "websocket"))
            .insert_header(("Sec-WebSocket-Version", "13"))
            .insert_header(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
            .to_http_request();
        let (sender, mut receiver) = unbounded_channel::<Vec<u8>>();
        let stream = futures_util::stream::poll_fn(move |context| {
            receiver.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Bytes::from(bytes))))
        });
        let mut payload: dev::Payload = dev::Payload::Stream { payload: Box::pin(stream) };
        let payload = web::Payload::from_request(&request, &mut payload).await.unwrap();
        let (answer, mut session, inbound) = actix_ws::handle(&request, payload).unwrap();
        greet(&mut session).await.unwrap();
        let id = RequestId { id: Uuid::nil(), address: None };
        let client = Client { principal: principal(good_for), id, too_big: TooBig::default() };
        let authenticator = web::Data::new(Authenticator::hs256(&"s".repeat(32), "i", "a").unwrap());
        let inbound = inbound.aggregate_continuations();
        let mut connection = Connection::open(fanout.clone(), authenticator, client, session, inbound);
        prepare(&mut connection);
        let outbox = connection.outbox.clone();
        actix_web::rt::spawn(connection.run());
        Self { fanout, outbox, body: answer.into_body(), received: Vec::new(), sender }
    }

    /// Opens a connection that watches an upload.
    async fn watching() -> Self {
        let prepare = |connection: &mut Connection| {
            let topic = Topic::Upload(upload());
            let wish = connection.subscriptions.ask(1, topic).unwrap();
            let snapshot = Snapshot { epoch: "e".to_owned(), seq: 1, state: json!({}) };
            assert!(connection.outbox.hand_over(Taken { id: 1, wish, topic, outcome: Ok(snapshot) }));
        };
        let mut peer = Self::connect(PATIENCE * 2, prepare).await;
        peer.expect("hello").await;
        peer.expect("snap").await;
        peer
    }

    /// Returns the next frame, or `None` at the end.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(length) = frame_length(&self.received) {
                let frame: Vec<u8> = self.received.drain(..length).collect();
                let header = if frame[1] < 126 { 2 } else { 4 };
                let payload = &frame[header..];
                return Some(match frame[0] & 0x0f {
                    1 => Sent::Text(serde_json::from_slice(payload).unwrap()),
                    8 => Sent::Close(u16::from_be_bytes([payload[0], payload[1]])),
                    9 => Sent::Ping,
                    other => panic!("unexpected frame with opcode {other}"),
                });
            }
            let more = poll_fn(|context| Pin::new(&mut self.body).poll_next(context));
            let more = tokio::time::timeout(PATIENCE, more).await.expect("the server sends a frame in time");
            self.received.extend(more?.unwrap());
        }
    }

    async fn expect(&mut self, kind: &str) -> Value {
        match self.next().await {
            Some(Sent::Text(frame)) if frame["t"] == kind => frame,
            other => panic!("expected {kind}, got {other:?}"),
        }
    }

    /// Sends a text frame.
    fn say(&self, frame: &Value) {
        let text = frame.to_string();
        let header = [0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        self.sender.send([&header[..], text.as_bytes()].concat()).unwrap();
    }

    fn deliver(&self, seq: u64, what: What) {
        self.outbox.deliver(Topic::Upload(upload()), &Arc::new(Live::new(seq, what)));
    }
}

/// Returns the length of the first frame after all of it has arrived.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        short => 2 + usize::from(short),
    };
    (bytes.len() >= length).then_some(length)
}

fn transition() -> What {
    What::Transition { kind: "FileRenamed", facts: Map::new() }
}

fn progress(bytes_uploaded: u64) -> What {
    What::Progress(ProgressFacts::of_a_hundred(upload(), bytes_uploaded))
}

/// Returns the size of a function's future.
fn future_bytes<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_connection_is_small() {
    let sizes = (future_bytes(Connection::run), size_of::<Connection>());
    assert!(sizes.0 < 512 && sizes.1 < 1_024, "{sizes:?}");
}

#[actix_web::test]
async fn an_idle_connection_sleeps_until_its_ping_and_ends_with_its_client() {
    let idle = |connection: &mut Connection| {
        let (mut timer, now) = (pin!(sleep_until(Instant::now())), Instant::now());
        assert!(connection.poll(&mut Context::from_waker(Waker::noop()), timer.as_mut()).is_pending());
        let until_ping = timer.deadline() - now;
        assert!(Duration::from_secs(24) < until_ping && until_ping <= HEARTBEAT, "{until_ping:?}");
    };
    let mut peer = Peer::connect(PATIENCE * 2, idle).await;
    assert_eq!(peer.expect("hello").await["heartbeat_s"], 25);
    drop(std::mem::replace(&mut peer.sender, unbounded_channel().0));
    assert_eq!(peer.next().await, None);
    assert!(peer.outbox.has_ended());
}

#[actix_web::test]
async fn a_connection_whose_time_has_come_is_closed() {
    let mut peer = Peer::connect(Duration::from_millis(300), |_| {}).await;
    peer.expect("hello").await;
    assert_eq!(peer.next().await, Some(Sent::Close(4001)));
    assert_eq!(peer.next().await, None);

    let mut peer = Peer::connect(PATIENCE * 2, |_| {}).await;
    peer.expect("hello").await;
    peer.fanout.hub.clients.send_away().await;
    assert_eq!(peer.expect("bye").await["retry_ms"], 1_000);
    assert_eq!(peer.next().await, Some(Sent::Close(1012)));
    assert_eq!(peer.next().await, None);
}

#[actix_web::test]
async fn a_ninth_connection_is_closed() {
    let (fanout, user) = (Fanout::alone().await, principal(PATIENCE * 2));
    let clients = &fanout.hub.clients;
    (100..108).for_each(|conn| assert!(clients.enter(conn, &user, &Arc::default())));
    let mut peer = Peer::connect_to(fanout.clone(), PATIENCE * 2, |_| {}).await;
    peer.expect("hello").await;
    assert_eq!(peer.next().await, Some(Sent::Close(4029)));
    assert_eq!(peer.next().await, None);
    clients.leave(100, &user);
    assert!(clients.enter(108, &user, &Arc::default()) && !clients.enter(109, &user, &Arc::default()));
}

#[actix_web::test]
async fn who_misses_a_transition_or_says_too_much_is_closed() {
    let mut peer = Peer::watching().await;
    (0..65).for_each(|seq| peer.deliver(2 + seq, transition()));
    assert_eq!(peer.next().await, Some(Sent::Close(4008)));

    let mut peer = Peer::watching().await;
    (0..21).for_each(|_| peer.say(&json!({ "t": "pong" })));
    assert_eq!(peer.next().await, Some(Sent::Close(4029)));
}

#[actix_web::test]
async fn transitions_go_at_once_and_progress_ten_times_a_second() {
    let mut peer = Peer::watching().await;
    let began = Instant::now();
    peer.deliver(2, progress(1));
    assert_eq!(peer.expect("prog").await["bytes_uploaded"], 1);
    peer.deliver(3, progress(2));
    peer.deliver(4, progress(3));
    assert_eq!(peer.expect("prog").await["bytes_uploaded"], 3, "only the newest progress is sent");
    assert!(began.elapsed() >= Duration::from_millis(100));
    peer.deliver(5, progress(4));
    peer.deliver(6, transition());
    peer.deliver(7, progress(5));
    let transition = peer.expect("ev").await;
    assert_eq!((&transition["seq"], &transition["prev_seq"]), (&json!(6), &json!(1)));
    assert_eq!(peer.expect("prog").await["bytes_uploaded"], 5);
}

#[actix_web::test]
async fn what_is_not_there_is_not_found() {
    let mut peer = Peer::connect(PATIENCE * 2, |_| {}).await;
    peer.expect("hello").await;
    for (id, topic) in [format!("upload:{}", upload()), "x".to_owned()].into_iter().enumerate() {
        peer.say(&json!({ "t": "sub", "id": id, "topic": topic }));
        assert_eq!(peer.expect("err").await, json!({ "t": "err", "id": id, "code": "not_found" }));
    }
    peer.say(&json!({ "t": "auth", "token": "none" }));
    assert_eq!(peer.expect("err").await, json!({ "t": "err", "code": "token_invalid" }));
}

#[actix_web::test]
async fn a_snapshot_waits_for_its_turn_and_nothing_else_does() {
    let mut peer = Peer::connect(PATIENCE * 2, |_| {}).await;
    peer.expect("hello").await;
    let fanout = peer.fanout.clone();
    let mut turns = Vec::new();
    while let Poll::Ready(turn) = futures_util::poll!(pin!(fanout.turn())) {
        turns.push(turn);
    }
    peer.say(&json!({ "t": "sub", "id": 1, "topic": format!("upload:{}", upload()) }));
    peer.say(&json!({ "t": "sub", "id": 2, "topic": "x" }));
    assert_eq!(peer.expect("err").await["id"], 2);
    drop(turns);
    assert_eq!(peer.expect("err").await["id"], 1);
}

#[actix_web::test]
async fn who_takes_nothing_is_let_go_after_five_seconds() {
    let mut peer = Peer::watching().await;
    let began = Instant::now();
    // More frames than actix-ws buffers.
    (0..50).for_each(|seq| peer.deliver(2 + seq, transition()));
    while !peer.outbox.has_ended() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(5));
    for seq in 2..34 {
        assert_eq!(peer.expect("ev").await["seq"], seq);
    }
    assert_eq!(peer.next().await, Some(Sent::Close(4008)));
    assert_eq!(peer.next().await, None);
}
