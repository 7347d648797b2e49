//! Events and reactions that cannot be handled are parked, and everything else continues.

use crate::sharing::Room;
use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use std::process::Command;
use waybill_event_log::EventLog;
use waybill_integration_tests::{Cluster, Counts, Options, Stack, servers_in};
use waybill_schema::{CompanyId, Entity, ShareId, Subject, UploadId};
use waybill_test_kit::eventually;

/// Appends a message to the lifecycle subject of an upload.
async fn append(
    log: &dyn EventLog,
    jetstream: &async_nats::jetstream::Context,
    (company, upload): (CompanyId, UploadId),
    kind: (&str, &str),
    body: &'static [u8],
) -> u64 {
    append_to(log, jetstream, Subject::new(company, Entity::UploadLifecycle(upload)), kind, body).await
}

/// Appends a message to a subject.
async fn append_to(
    log: &dyn EventLog,
    jetstream: &async_nats::jetstream::Context,
    subject: Subject,
    (kind, version): (&str, &str),
    body: &'static [u8],
) -> u64 {
    let message = async_nats::jetstream::message::PublishMessage::build()
        .header("Waybill-Type", kind)
        .header("Waybill-Version", version)
        .header("Waybill-Schema", "postcard/1")
        .header("Waybill-Time", "1764000000000")
        .header("Waybill-Actor", "service:later")
        .header("Waybill-Causation", "event:0:1")
        .payload(body.into());
    let appended = jetstream.send_publish(subject.to_nats(log.partitions()), message).await.unwrap();
    appended.await.unwrap().sequence
}

/// Runs `waybill parked`. Returns `true` if it succeeded, and the lines that it printed.
fn parked(arguments: &[String], command: &[&str]) -> (bool, Vec<Value>) {
    let servers = servers_in(arguments, false);
    let program = waybill_test_kit::settings("WAYBILL_TEST_BIN");
    let output = Command::new(program).arg("parked").args(command).args(servers).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_holds_up_its_aggregate_alone() {
    let stack = Stack::start().await;
    let client = stack.client();
    let started = client.start(10).await.expect(201);
    let upload = started.text("upload_id");
    let jetstream = async_nats::jetstream::new(stack.nats().await);
    let whose = (client.principal.company_id, upload.parse().unwrap());
    let seq = append(stack.log(), &jetstream, whose, ("InventedLater", "7"), b"x").await;

    // The gateway cannot decide without reading the event, and answers 500.
    client.complete(&upload, &json!({})).await.refused(500, "internal");
    let posted = client.small_file("after.txt").await;
    client.get_after(&format!("/v1/files/{}", posted.text("file_id")), &posted).await.expect(200);
    let shown = client.get(&format!("/v1/files/{upload}")).await.expect(200).body;
    assert_eq!(shown["processing_status"], "PENDING", "the state before the unreadable event is lost");
    let events = eventually("the unreadable event to be in the audit", || async {
        let items = client.get("/v1/audit?limit=1000").await.expect(200).body["items"].as_array().unwrap().clone();
        items.iter().any(|event| event["position"] == format!("0:{seq}")).then_some(items)
    })
    .await;
    let unreadable = events.iter().find(|event| event["position"] == format!("0:{seq}")).unwrap();
    assert!(unreadable["unreadable"].as_str().unwrap().contains("InventedLater"), "{unreadable}");

    // The worker parks the reaction for a newer version.
    let arguments = stack.arguments("parked", &[]);
    let listed = eventually("the reaction to be parked", || async {
        let (_, lines) = parked(&arguments, &["ls"]);
        lines.iter().any(|line| line["kind"] == "reaction").then_some(lines)
    })
    .await;
    let kinds: Vec<&Value> = listed.iter().map(|line| &line["kind"]).collect();
    assert_eq!(kinds, ["reaction", "projection"], "{listed:?}");
    for line in &listed {
        assert_eq!(line["position"], format!("0:{seq}"));
        assert!(line["reason"].as_str().unwrap().contains("InventedLater"), "{line}");
    }
    assert!(parked(&arguments, &["show", &format!("0:{seq}")]).0);
    assert!(!parked(&arguments, &["show", "0:1"]).0);
    stack.finish_with_parked(1).await;
}

/// A gateway that cannot read an event that revokes a permission must not grant the permission (correctness S2-4).
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_about_a_share_or_a_file_grants_nothing() {
    let stack = Stack::start().await;
    let room = Room::of(&stack).await;
    let (shared, own) = (room.file("shared.txt").await, room.file("own.txt").await);
    let (shared_id, own_id) = (shared.text("file_id"), own.text("file_id"));
    room.ben.get_after(&format!("/v1/files/{own_id}"), &own).await.expect(200);
    room.ben.get(&format!("/v1/files/{shared_id}")).await.expect(200);
    let jetstream = async_nats::jetstream::new(stack.nats().await);
    let company = room.admin.principal.company_id;
    // The association that an upload creates has the id of the upload.
    let share = Subject::new(company, Entity::Share(ShareId(shared_id.parse().unwrap())));
    append_to(stack.log(), &jetstream, share, ("ShareNarrowed", "1"), b"x").await;
    let file = Subject::new(company, Entity::File(own_id.parse().unwrap()));
    append_to(stack.log(), &jetstream, file, ("FileQuarantined", "1"), b"x").await;
    // The first round checks the next request, the second one a request after the events were parked.
    for _ in 0..2 {
        for (client, file, what) in [(&room.ben, &shared_id, "the share"), (&room.anna, &own_id, "the file")] {
            let answer = client.get(&format!("/v1/files/{file}/content")).await;
            assert!([404, 410, 500, 503].contains(&answer.status), "{what}: {answer:?}");
        }
        eventually("both events to be parked", || async {
            let mut connection = stack.database("waybill").connection().await.ok()?;
            let parked = waybill_read_model::projection::parked(&mut connection).await.ok()?;
            (parked.len() == 2).then_some(())
        })
        .await;
    }
    stack.finish_with_parked(2).await;
}

/// Reactions that never succeed are retried for a while, and block nobody (correctness S3-6).
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_hopeless_reactions_hold_up_nobody() {
    const HOPELESS: u32 = 2_000;
    let stack = Stack::start().await;
    let (client, other) = (stack.client(), stack.client());
    let jetstream = async_nats::jetstream::new(stack.nats().await);
    for _ in 0..HOPELESS {
        let whose = (other.principal.company_id, UploadId(uuid::Uuid::now_v7()));
        // The first event is unreadable, so no worker can react to the second one.
        append(stack.log(), &jetstream, whose, ("UploadStarted", "2"), b"").await;
        append(stack.log(), &jetstream, whose, ("FileCompleted", "1"), b"\0").await;
    }
    let upload = client.start(10).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, "0123456789").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    stack.nothing_reserved(client.principal.company_id).await;
    stack.finish_with_parked(i64::from(2 * HOPELESS)).await;
}

/// A parked reaction runs as soon as it can succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_that_was_parked_is_done_when_it_can_be() {
    let args = ["--park-after-attempts=2", "--worker-sweep-ms=500"].map(str::to_owned).to_vec();
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let client = stack.client();
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let started = client.start_with(10, json!({ "session_id": session })).await.expect(201);
    let upload = started.text("upload_id");
    client.get_after(&format!("/v1/files/{upload}"), &started).await.expect(200);
    // The worker finds the uploads of the session in the tables, which are locked.
    let mut locking = stack.database("waybill").connection().await.unwrap();
    locking.batch_execute("BEGIN; LOCK TABLE upload_session IN ACCESS EXCLUSIVE MODE").await.unwrap();
    client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    let arguments = stack.arguments("parked", &[]);
    let parked_at = eventually("the reaction to be parked", || async {
        let (_, lines) = parked(&arguments, &["ls"]);
        lines.first().map(|line| line["position"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(parked(&arguments, &["retry", &parked_at]).0);
    locking.batch_execute("ROLLBACK").await.unwrap();
    let status = async || client.get(&format!("/v1/uploads/{upload}")).await.expect(200).body["status"].clone();
    eventually("the upload to be cancelled", || async { (status().await == "CANCELLED").then_some(()) }).await;
    eventually("nothing to be parked", || async { parked(&arguments, &["ls"]).1.is_empty().then_some(()) }).await;
    assert!(!parked(&arguments, &["retry", &parked_at]).0);
    stack.finish().await;
}

/// A newer projector folds events that an older one parked.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_parked_are_folded_by_a_newer_projector() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    client.small_file("before.txt").await;
    let started = client.start(10).await.expect(201);
    let upload = started.text("upload_id");
    client.get_after(&format!("/v1/files/{upload}"), &started).await.expect(200);
    let company = client.principal.company_id;
    let database = cluster.backing.database("waybill");
    // As if the projector had parked an unreadable event of the upload.
    let park = format!(
        "INSERT INTO parked_event (partition, seq, subject, aggregate, reason) \
         VALUES (0, 0, 'x', '{company}.file.{upload}', 'a test')"
    );
    let mut connection = database.connection().await.unwrap();
    connection.batch_execute(&park).await.unwrap();
    client.put_chunk(&upload, 0, "0123456789").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    cluster.backing.settled().await;
    assert_eq!(client.get(&format!("/v1/uploads/{upload}")).await.expect(200).body["status"], "COMPLETED");
    connection.batch_execute("DELETE FROM parked_event WHERE seq = 0").await.unwrap();
    cluster.projectors[0].kill();
    cluster.projectors[0].restart().await;
    client.file_with_status(&upload, "COMPLETED").await;
    // The tables equal a rebuild, and nothing is parked.
    cluster.finish().await;
}

/// Rows that PostgreSQL refuses block only their own aggregate.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_tables_never_take_do_not_stop_the_partition() {
    let cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    let database = cluster.backing.database("waybill");
    let mut connection = database.connection().await.unwrap();
    // A division by zero, which is neither the violation of a constraint nor a temporary error.
    let refuse = "ALTER TABLE file ADD CONSTRAINT refusing CHECK (1 / (size_bytes - 4711) IS NOT NULL)";
    connection.batch_execute(refuse).await.unwrap();
    let refused = client.start(4_711).await.expect(201).text("upload_id");
    let posted = client.small_file("after.txt").await;
    client.get_after(&format!("/v1/files/{}", posted.text("file_id")), &posted).await.expect(200);
    let arguments = cluster.backing.arguments("parked", &[]);
    assert!(!parked(&arguments, &["retry", "--all"]).0, "the retry succeeded although the rows are still refused");
    connection.batch_execute("ALTER TABLE file DROP CONSTRAINT refusing").await.unwrap();
    assert!(parked(&arguments, &["retry", "--all"]).0);
    client.file_with_status(&refused, "PENDING").await;
    cluster.finish().await;
}
