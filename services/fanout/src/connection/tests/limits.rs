//! Tests of the limits of a connection, each by its close code or refusal, from the contract of `waybill.v1`.

use super::*;
use crate::socket::Incoming;
use crate::subscriptions::TOPICS_MAX;
use crate::taken::Taken;
use uuid::Uuid;
use waybill_api::frames::Topic;
use waybill_http_kit::Role;
use waybill_schema::Timestamp;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn upload_topic(number: usize) -> String {
    format!("upload:{}", Uuid::from_u128(number as u128))
}

#[actix_web::test]
async fn one_topic_too_many_is_refused_and_the_others_stay() {
    tokio::time::pause();
    let mut peer = Peer::connect(user(), |_| {}).await;
    peer.expect("hello").await;
    let fanout = peer.fanout.clone();
    // While all permits are taken, subscriptions wait for their snapshots.
    let turns = all_turns(&fanout).await;
    for id in 0..TOPICS_MAX {
        peer.say(&json!({ "t": "sub", "id": id, "topic": upload_topic(id) }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    peer.say(&json!({ "t": "sub", "id": 5, "topic": upload_topic(5) }));
    assert_eq!(peer.expect("err").await, json!({ "t": "err", "id": 5, "code": "id_in_use" }));
    peer.say(&json!({ "t": "sub", "id": 1_000, "topic": upload_topic(1_000) }));
    assert_eq!(peer.expect("err").await, json!({ "t": "err", "id": 1_000, "code": "too_many_topics" }));
    peer.say(&json!({ "t": "unsub", "id": 5 }));
    peer.say(&json!({ "t": "sub", "id": 1_001, "topic": "x" }));
    assert_eq!(peer.expect("err").await["code"], "not_found");
    peer.say(&json!({ "t": "sub", "id": 1_000, "topic": upload_topic(1_000) }));
    drop(turns);
    // None of the uploads exists. The last subscription was accepted in the place of the removed one.
    for _ in 0..TOPICS_MAX {
        assert_ne!(peer.expect("err").await["id"], 5);
    }
}

#[actix_web::test]
async fn twenty_frames_a_second_are_taken_and_the_next_closes_with_4029() {
    tokio::time::pause();
    let mut peer = Peer::connect(user(), |_| {}).await;
    peer.expect("hello").await;
    for _ in 0..3 {
        (0..20).for_each(|_| peer.send(Incoming::Pong));
        tokio::time::sleep(seconds(1)).await;
    }
    // Frames of all kinds count, also those that are refused or answered.
    (0..10).for_each(|_| peer.send(Incoming::Ping(Bytes::from_static(b"x"))));
    (0..9).for_each(|_| peer.send(Incoming::Binary));
    peer.say(&json!({ "t": "none" }));
    for _ in 0..10 {
        assert_eq!(peer.next().await, Some(Sent::Pong(Bytes::from_static(b"x"))));
    }
    for _ in 0..10 {
        assert_eq!(peer.expect("err").await, json!({ "t": "err", "code": "frame_invalid" }));
    }
    peer.say(&json!({ "t": "pong" }));
    peer.expect_close(4029).await;
}

#[actix_web::test]
async fn who_answers_no_ping_for_eight_seconds_is_dropped_without_a_close_frame() {
    tokio::time::pause();
    let mut peer = Peer::connect(user(), |_| {}).await;
    peer.expect("hello").await;
    let began = Instant::now();
    // A timer fires up to 1 ms late.
    let rounded = |time: Duration| time.as_millis() / 10 * 10;
    let answers = [Some(Incoming::Pong), Some(Incoming::Text("{\"t\":\"pong\"}".into())), None];
    for (ping, answer) in (1..).zip(answers) {
        assert_eq!(peer.next().await, Some(Sent::Ping));
        assert_eq!(rounded(began.elapsed()), 25_000 * ping);
        tokio::time::sleep(seconds(7)).await;
        answer.into_iter().for_each(|answer| peer.send(answer));
    }
    assert_eq!(peer.next().await, None);
    assert_eq!(rounded(began.elapsed()), 25_000 * 3 + 8_000);
    assert!(peer.outbox.has_ended());
}

#[actix_web::test]
async fn a_message_that_is_too_big_closes_with_1009() {
    tokio::time::pause();
    let mut peer = Peer::watching().await;
    peer.deliver(2, transition());
    peer.expect("ev").await;
    peer.send(Incoming::TooBig);
    peer.expect_close(1009).await;
}

#[actix_web::test]
async fn progress_slows_down_for_a_client_that_does_not_keep_up() {
    tokio::time::pause();
    let mut peer = Peer::watching().await;
    (0..40).for_each(|seq| peer.deliver(2 + seq, transition()));
    tokio::time::sleep(seconds(2)).await;
    for seq in 2..42 {
        assert_eq!(peer.expect("ev").await["seq"], seq);
    }
    let unblocked = Instant::now();
    peer.deliver(42, progress(1));
    assert_eq!(peer.expect("prog").await["seq"], 42);
    assert!(unblocked.elapsed() >= Duration::from_millis(900), "{:?}", unblocked.elapsed());
    assert!(!peer.outbox.has_ended());
}

#[actix_web::test]
async fn a_projection_that_lags_refuses_the_subscription_and_keeps_the_connection() {
    tokio::time::pause();
    let lagging = |connection: &mut Connection<Recorder>| {
        let topic = Topic::Upload(upload());
        let wish = connection.subscriptions.ask(1, topic).unwrap();
        assert!(connection.outbox.hand_over(Taken { id: 1, wish, topic, outcome: Err(Refusal::Lagging) }));
    };
    let mut peer = Peer::connect(user(), lagging).await;
    peer.expect("hello").await;
    assert_eq!(peer.expect("err").await, json!({ "t": "err", "id": 1, "code": "lagging" }));
    // The id is free again.
    peer.say(&json!({ "t": "sub", "id": 1, "topic": upload_topic(7), "from": { "epoch": "e", "seq": 1 } }));
    assert_eq!(peer.expect("reset").await, json!({ "t": "reset", "id": 1 }));
    assert_eq!(peer.expect("err").await["code"], "not_found");
}

#[actix_web::test]
async fn a_client_whose_access_cannot_be_confirmed_receives_nothing_more() {
    tokio::time::pause();
    let mut peer = Peer::watching().await;
    // No task follows the log, so the check does not reach this event.
    peer.outbox.recheck(2);
    peer.deliver(3, transition());
    peer.deliver(4, progress(1));
    peer.expect_close(4003).await;
}

#[actix_web::test]
async fn a_token_with_fewer_roles_ends_topics_that_need_them() {
    tokio::time::pause();
    let admin = Principal { roles: vec![Role::Admin], ..user() };
    let mut peer = Peer::watching_as(admin.clone()).await;
    let renewed = |principal: &Principal| json!({ "t": "auth", "token": peer.authenticator.mint(principal).unwrap() });
    let (same, another, less) = (
        renewed(&Principal { expires_at: Timestamp(admin.expires_at.0 + 1_000), ..admin.clone() }),
        renewed(&Principal { company_id: waybill_schema::CompanyId(Uuid::from_u128(9)), ..admin }),
        renewed(&user()),
    );
    peer.say(&same);
    peer.say(&another);
    assert_eq!(peer.expect("err").await, json!({ "t": "err", "code": "token_invalid" }));
    peer.deliver(2, transition());
    peer.expect("ev").await;
    peer.say(&less);
    peer.expect_close(4003).await;
}

#[actix_web::test]
async fn a_stopping_server_says_bye_before_all_else_also_to_those_who_come_late() {
    tokio::time::pause();
    let mut peer = Peer::watching().await;
    (0..3).for_each(|seq| peer.deliver(2 + seq, transition()));
    peer.fanout.hub.clients.send_away().await;
    assert_eq!(peer.expect("bye").await, json!({ "t": "bye", "retry_ms": 1_000 }));
    peer.expect_close(1012).await;

    let mut late = Peer::connect_to(peer.fanout.clone(), user(), |_| {}).await;
    late.expect("hello").await;
    late.expect("bye").await;
    late.expect_close(1012).await;
}
