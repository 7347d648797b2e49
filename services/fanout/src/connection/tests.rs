//! Tests of a connection without a socket. Except for the tests of tokens, which expire by the wall clock, time is
//! paused: it advances when all tasks sleep.

mod limits;
mod peer;

use super::*;
use crate::actix_socket::ActixSocket;
use crate::live::{What, of_a_hundred};
use bytes::Bytes;
use peer::{PATIENCE, Peer, Recorder, Sent, all_turns, principal, upload, user};
use serde_json::{Map, json};
use std::task::Waker;

fn transition() -> What {
    What::Transition { kind: "FileRenamed", facts: Map::new() }
}

fn progress(bytes_uploaded: u64) -> What {
    What::Progress(of_a_hundred(upload(), bytes_uploaded))
}

/// Returns the size of a function's future.
fn future_bytes<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_connection_is_small() {
    let sizes = (future_bytes(Connection::<ActixSocket>::run), size_of::<Connection<ActixSocket>>());
    assert!(sizes.0 < 512 && sizes.1 < 1_024, "{sizes:?}");
}

#[actix_web::test]
async fn an_idle_connection_sleeps_until_its_ping_and_ends_with_its_client() {
    tokio::time::pause();
    let idle = |connection: &mut Connection<Recorder>| {
        let (mut timer, now) = (pin!(sleep_until(Instant::now())), Instant::now());
        assert!(connection.poll(&mut Context::from_waker(Waker::noop()), timer.as_mut()).is_pending());
        let until_ping = timer.deadline() - now;
        assert!(Duration::from_secs(24) < until_ping && until_ping <= HEARTBEAT, "{until_ping:?}");
    };
    let mut peer = Peer::connect(user(), idle).await;
    assert_eq!(peer.expect("hello").await["heartbeat_s"], 25);
    peer.leave();
    assert_eq!(peer.next().await, None);
    assert!(peer.outbox.has_ended());
}

#[actix_web::test]
async fn a_connection_whose_time_has_come_is_closed() {
    let mut peer = Peer::connect(principal(Duration::from_millis(300)), |_| {}).await;
    peer.expect("hello").await;
    assert_eq!(peer.next().await, Some(Sent::Close(4001)));
    assert_eq!(peer.next().await, None);

    let mut peer = Peer::connect(user(), |_| {}).await;
    peer.expect("hello").await;
    peer.fanout.hub.clients.send_away().await;
    assert_eq!(peer.expect("bye").await["retry_ms"], 1_000);
    assert_eq!(peer.next().await, Some(Sent::Close(1012)));
    assert_eq!(peer.next().await, None);
}

#[actix_web::test]
async fn a_ninth_connection_is_closed() {
    tokio::time::pause();
    let (fanout, user) = (Fanout::alone().await, user());
    let clients = &fanout.hub.clients;
    (100..108).for_each(|conn| assert!(clients.enter(conn, &user, &Arc::default())));
    let mut peer = Peer::connect_to(fanout.clone(), user.clone(), |_| {}).await;
    peer.expect("hello").await;
    assert_eq!(peer.next().await, Some(Sent::Close(4029)));
    assert_eq!(peer.next().await, None);
    clients.leave(100, &user);
    assert!(clients.enter(108, &user, &Arc::default()) && !clients.enter(109, &user, &Arc::default()));
}

#[actix_web::test]
async fn who_misses_a_transition_or_says_too_much_is_closed() {
    tokio::time::pause();
    let mut peer = Peer::watching().await;
    (0..65).for_each(|seq| peer.deliver(2 + seq, transition()));
    assert_eq!(peer.next().await, Some(Sent::Close(4008)));

    let mut peer = Peer::watching().await;
    (0..21).for_each(|_| peer.say(&json!({ "t": "pong" })));
    assert_eq!(peer.next().await, Some(Sent::Close(4029)));
}

#[actix_web::test]
async fn transitions_go_at_once_and_progress_ten_times_a_second() {
    tokio::time::pause();
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
    tokio::time::pause();
    let mut peer = Peer::connect(user(), |_| {}).await;
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
    tokio::time::pause();
    let mut peer = Peer::connect(user(), |_| {}).await;
    peer.expect("hello").await;
    let fanout = peer.fanout.clone();
    let turns = all_turns(&fanout).await;
    peer.say(&json!({ "t": "sub", "id": 1, "topic": format!("upload:{}", upload()) }));
    peer.say(&json!({ "t": "sub", "id": 2, "topic": "x" }));
    assert_eq!(peer.expect("err").await["id"], 2);
    drop(turns);
    assert_eq!(peer.expect("err").await["id"], 1);
}

#[actix_web::test]
async fn who_takes_nothing_is_let_go_after_five_seconds() {
    tokio::time::pause();
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
