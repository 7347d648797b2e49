//! Attacks of a role that was taken over on NATS. Each role has a user in `nats/users.conf`, which cannot do more than the
//! role does. Every other test shows that the users can do enough: see `Backing::check`.

use async_nats::HeaderMap;
use std::path::Path;
use uuid::Uuid;
use waybill_event_log::EventLog;
use waybill_integration_tests::Backing;
use waybill_schema::events::MemberAdded;
use waybill_schema::{
    Actor, Causation, ChatroomId, CompanyId, Entity, Envelope, Event, Place, Routing, Subject, Timestamp, UserId,
};
use waybill_test_kit::eventually;

/// Sends a message as a user, and waits until NATS has refused it.
async fn refused(backing: &Backing, user: &str, subject: &str, headers: HeaderMap, body: Vec<u8>) {
    let client = backing.nats_as(user).await;
    client.publish_with_headers(subject.to_owned(), headers, body.into()).await.unwrap();
    client.flush().await.unwrap();
    let refusal = format!("user:{user}\" - Publish Violation - Subject \"{subject}\"");
    eventually(&format!("{user} to be denied {subject}"), || async { backing.nats_has_logged(&refusal).then_some(()) })
        .await;
}

/// Sends requests of the JetStream API as a user, and waits until NATS has refused them.
async fn requests_refused(backing: &Backing, user: &str, requests: &[&str]) {
    for request in requests {
        let body = serde_json::json!({ "name": "EVT-0", "subjects": ["evt.0.>"], "deny_purge": false });
        refused(backing, user, &format!("$JS.API.{request}"), HeaderMap::new(), body.to_string().into_bytes()).await;
    }
}

/// Appends as a user an event that makes anybody a member of a chatroom, as if an administrator had done it. Checks
/// that nothing was stored.
async fn cannot_forge_a_member(backing: &Backing, user: &str) {
    let (subject, headers, body) = forged_member();
    let before = backing.log().head(0).await.unwrap();
    refused(backing, user, &subject.to_nats(backing.log().partitions()), headers, body).await;
    assert_eq!(backing.log().head(0).await.unwrap(), before);
    assert!(backing.log().last(subject).await.unwrap().is_none());
}

/// Returns the subject and the headers of an event that makes anybody a member of a chatroom, and its body.
fn forged_member() -> (Subject, HeaderMap, Vec<u8>) {
    let subject = Subject::new(CompanyId(Uuid::now_v7()), Entity::Directory);
    let (place, user_id) = (Place::Chatroom(ChatroomId(Uuid::now_v7())), UserId(Uuid::now_v7()));
    let event: Event = MemberAdded { place, user_id }.into();
    let envelope = Envelope {
        time: Timestamp(1_764_000_000_000),
        actor: Actor::User(UserId(Uuid::now_v7())),
        causation: Causation::Request(Uuid::now_v7()),
        address: None,
        routing: Routing::default(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in envelope.to_headers(&event) {
        headers.insert(name, value);
    }
    (subject, headers, event.encode().unwrap())
}

/// Requests that only operators may send.
const OPERATORS: [&str; 8] = [
    "STREAM.CREATE.EVT-0",
    "STREAM.UPDATE.EVT-0",
    "STREAM.DELETE.EVT-0",
    "STREAM.PURGE.EVT-0",
    "STREAM.MSG.DELETE.EVT-0",
    "STREAM.RESTORE.EVT-0",
    "CONSUMER.DELETE.EVT-0.reactions",
    "CONSUMER.CREATE.EVT-0.reactions",
];

/// Checks that a role cannot manage the streams of events, and that they still exist.
async fn cannot_manage_streams(backing: &Backing, user: &str) {
    requests_refused(backing, user, &OPERATORS).await;
    let log = backing.nats_as(user).await;
    let stream = async_nats::jetstream::new(log).get_stream("EVT-0").await.unwrap();
    let config = &stream.cached_info().config;
    assert!(config.deny_purge && config.deny_delete, "{config:?}");
    let observer = async_nats::jetstream::new(backing.nats().await).get_stream("EVT-0").await.unwrap();
    observer.consumer_info("reactions").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_fanout_cannot_forge_events_or_manage_streams() {
    let backing = Backing::start(1).await;
    cannot_forge_a_member(&backing, "fanout").await;
    cannot_manage_streams(&backing, "fanout").await;
    let others = ["DIRECT.GET.KV_idempotency", "STREAM.INFO.KV_parked", "CONSUMER.MSG.NEXT.EVT-0.reactions"];
    requests_refused(&backing, "fanout", &others).await;
    for subject in ["$KV.snapshots.x", "$KV.midstates.x", "ctl.takeover.x", "$JS.ACK.EVT-0.reactions.1.1.1.1.0"] {
        refused(&backing, "fanout", subject, HeaderMap::new(), Vec::new()).await;
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_projector_cannot_forge_events_or_manage_streams() {
    let backing = Backing::start(1).await;
    cannot_forge_a_member(&backing, "projector").await;
    cannot_manage_streams(&backing, "projector").await;
    let others = ["DIRECT.GET.KV_tickets", "STREAM.MSG.GET.KV_snapshots", "CONSUMER.CREATE.KV_tickets.mine"];
    requests_refused(&backing, "projector", &others).await;
    for subject in ["aud.0.x.y", "$KV.tickets.x", "$KV.parked.x", "ctl.takeover.x"] {
        refused(&backing, "projector", subject, HeaderMap::new(), Vec::new()).await;
    }
    backing.remove().await;
}

/// Asks for a stored refusal, and names the subject of an event for the answer. Returns this subject.
async fn answer_into_the_log(backing: &Backing, user: &str, seq: u64) -> Subject {
    let (subject, ..) = forged_member();
    let client = backing.nats_as(user).await;
    let answer_to = subject.to_nats(backing.log().partitions());
    let read = format!("{{\"seq\":{seq}}}");
    client.publish_with_reply("$JS.API.DIRECT.GET.AUD-0", answer_to, read.into()).await.unwrap();
    client.flush().await.unwrap();
    // The server answers the requests of a connection in order. This answer therefore comes after the first one.
    client.request("$JS.API.DIRECT.GET.AUD-0", format!("{{\"seq\":{seq}}}").into()).await.unwrap();
    subject
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_the_answer_to_a_read_of_a_fanout_or_projector_is_no_event() {
    let backing = Backing::start(1).await;
    let (_, headers, body) = forged_member();
    let fanout = async_nats::jetstream::new(backing.nats_as("fanout").await);
    let kept = fanout.publish_with_headers("aud.0.x.y", headers, body.into()).await.unwrap().await.unwrap();
    let mut subjects = Vec::new();
    for user in ["fanout", "projector"] {
        subjects.push(answer_into_the_log(&backing, user, kept.sequence).await);
    }
    // The attack succeeds in the account of the streams, whose users may append events.
    let forged = answer_into_the_log(&backing, "gateway", kept.sequence).await;
    let stored = eventually("the answer in the log", || async { backing.log().last(forged).await.unwrap() }).await;
    assert!(stored.event.is_ok() && stored.position.seq == 1, "{stored:?}");
    for subject in subjects {
        assert_eq!(backing.log().last(subject).await.unwrap(), None);
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_worker_cannot_publish_events_of_the_directory_or_manage_streams() {
    let backing = Backing::start(1).await;
    cannot_forge_a_member(&backing, "worker").await;
    cannot_manage_streams(&backing, "worker").await;
    requests_refused(&backing, "worker", &["DIRECT.GET.KV_tickets", "STREAM.MSG.GET.KV_idempotency"]).await;
    let company = Uuid::now_v7();
    for subject in [
        format!("$KV.snapshots.{company}.directory"),
        format!("$KV.snapshots.{company}.directory.0.0"),
        "$KV.tickets.x".to_owned(),
        "aud.0.x.y".to_owned(),
    ] {
        refused(&backing, "worker", &subject, HeaderMap::new(), Vec::new()).await;
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_the_role_content_publishes_only_events_of_files_and_contents_and_nobody_else_takes_its_work() {
    let backing = Backing::start(1).await;
    cannot_forge_a_member(&backing, "content").await;
    cannot_manage_streams(&backing, "content").await;
    let others = ["DIRECT.GET.KV_tickets", "STREAM.MSG.GET.KV_idempotency", "CONSUMER.MSG.NEXT.EVT-0.reactions"];
    requests_refused(&backing, "content", &others).await;
    let (company, id) = (Uuid::now_v7(), Uuid::now_v7());
    for subject in [
        format!("evt.0.{company}.upload.{id}.lc"),
        format!("evt.0.{company}.quota"),
        format!("evt.0.{company}.share.{id}"),
        format!("$KV.snapshots.{company}.directory"),
        "aud.0.x.y".to_owned(),
    ] {
        refused(&backing, "content", &subject, HeaderMap::new(), Vec::new()).await;
    }
    for consumer in ["scans", "previews", "replaced", "thaws", "purges"] {
        let requests = ["CREATE", "DELETE", "MSG.NEXT"].map(|request| format!("CONSUMER.{request}.EVT-0.{consumer}"));
        for user in ["gateway", "worker", "projector", "fanout"] {
            requests_refused(&backing, user, &requests.each_ref().map(String::as_str)).await;
        }
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_gateway_cannot_manage_streams_or_take_the_work_of_workers() {
    let backing = Backing::start(1).await;
    cannot_manage_streams(&backing, "gateway").await;
    let others = ["CONSUMER.MSG.NEXT.EVT-0.reactions", "DIRECT.GET.KV_tickets", "STREAM.PURGE.KV_tickets"];
    requests_refused(&backing, "gateway", &others).await;
    for subject in ["$KV.tickets.x", "$KV.parked.x", "$JS.ACK.EVT-0.reactions.1.1.1.1.0"] {
        refused(&backing, "gateway", subject, HeaderMap::new(), Vec::new()).await;
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_all_roles_in_one_process_cannot_manage_streams() {
    let backing = Backing::start(1).await;
    cannot_manage_streams(&backing, "all").await;
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_the_user_of_operators_cannot_publish_events() {
    let backing = Backing::start(1).await;
    cannot_forge_a_member(&backing, "provision").await;
    for subject in ["aud.0.x.y", "$KV.tickets.x", "ctl.takeover.x"] {
        refused(&backing, "provision", subject, HeaderMap::new(), Vec::new()).await;
    }
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_no_user_receives_the_answers_to_another() {
    let backing = Backing::start(1).await;
    let users = ["gateway", "worker", "projector", "fanout", "content", "all", "provision"];
    for user in users {
        let client = backing.nats_as(user).await;
        let others = users.into_iter().filter(|other| *other != user).map(|other| format!("_INBOX_{other}.>"));
        for subject in others.chain(["_INBOX.>".to_owned(), ">".to_owned(), "$KV.>".to_owned()]) {
            let _subscription = client.subscribe(subject.clone()).await.unwrap();
            client.flush().await.unwrap();
            let refusal = format!("user:{user}\" - Subscription Violation - Subject \"{subject}\"");
            eventually(&format!("{user} to be denied {subject}"), || async {
                backing.nats_has_logged(&refusal).then_some(())
            })
            .await;
        }
    }
    backing.remove().await;
}

#[test]
fn h4_every_bucket_is_denied_to_the_roles_that_do_not_use_it() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../nats"));
    let users = std::fs::read_to_string(folder.join("users.conf")).unwrap();
    for file in std::fs::read_dir(folder.join("streams")).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        let Some(bucket) = name.strip_prefix("KV_") else { continue };
        for subject in [format!("\"$KV.{bucket}.>\""), format!("\"$JS.API.DIRECT.GET.KV_{bucket}\"")] {
            assert!(users.contains(&subject), "nats/users.conf has no {subject}");
        }
    }
}
