//! Tamper evidence of the audit (security review, H4): somebody who can write to NATS rewrites the history of a company.
//! The heads that were stored before convict them. The tests replace the event stream by an edited copy.

use crate::audit::{audited, verified};
use crate::restored::{copied, restore, send};
use crate::stream_files::{Block, Record};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use futures_util::{StreamExt, stream as items};
use serde_json::Value;
use std::path::{Path, PathBuf};
use waybill_integration_tests::{Backing, Client, Cluster, Counts, Options, Stack};
use waybill_object_store::ObjectStore;
use waybill_schema::names;
use waybill_test_kit::eventually;

async fn sealing_stack() -> Stack {
    Stack::with(Options { args: vec!["--audit-seal-s=1".to_owned()], ..Options::default() }).await
}

/// Returns the keys of the stored heads of a client's company, the newest first.
async fn head_keys(backing: &Backing, client: &Client) -> Vec<String> {
    backing.store().list(&names::audit_heads_prefix(client.principal.company_id)).await.unwrap()
}

async fn head_at(backing: &Backing, key: &str) -> Value {
    serde_json::from_slice(&backing.store().get(key, 0, None).await.unwrap().collect().await.unwrap()).unwrap()
}

/// Waits until the newest stored head covers all events of the audit. Returns the head.
async fn sealed(backing: &Backing, client: &Client) -> Value {
    backing.settled().await;
    let events = client.get("/v1/audit?limit=1000").await.expect(200).body["items"].as_array().unwrap().clone();
    eventually("a head to be stored", || async {
        let head = head_at(backing, head_keys(backing, client).await.first()?).await;
        (head["head"]["size"] == events.len()).then_some(head)
    })
    .await
}

async fn exported(client: &Client, folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    // After the stream was replaced, a gateway answers 503 until it follows the new one.
    eventually("access to the audit", || async { (client.get("/v1/quota").await.status == 200).then_some(()) }).await;
    audited(client, &["export", file.to_str().unwrap()]).await;
    file
}

/// A stored message, without its place.
#[derive(Clone)]
struct Message {
    subject: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Returns all messages of the stream of the only partition.
async fn messages(stream: &mut stream::Stream) -> Vec<Message> {
    let last = stream.info().await.unwrap().state.last_sequence;
    let read = |seq| {
        let stream = &*stream;
        async move {
            let message = stream.direct_get(seq).await.unwrap();
            let mut headers = HeaderMap::new();
            for (name, values) in message.headers.iter().filter(|(name, _)| name.to_string().starts_with("Waybill-")) {
                headers.insert(name.clone(), values[0].clone());
            }
            Message { subject: message.subject.to_string(), headers, body: message.payload.to_vec() }
        }
    };
    items::iter(1..=last).then(read).collect().await
}

/// Deletes the stream and creates it again with these messages.
async fn replace(jetstream: &jetstream::Context, stream: &mut stream::Stream, messages: &[Message]) {
    let config = stream.info().await.unwrap().config.clone();
    jetstream.delete_stream(&config.name).await.unwrap();
    *stream = jetstream.create_stream(config).await.unwrap();
    for message in messages.iter().cloned() {
        let sent = jetstream.publish_with_headers(message.subject, message.headers, message.body.into());
        sent.await.unwrap().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_company_is_sealed_while_it_works_and_each_head_continues_the_one_before() {
    let stack = sealing_stack().await;
    let (client, quiet) = (stack.client(), stack.client());
    quiet.small_file("a").await;
    client.small_file("a").await;
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let mut sizes = Vec::new();
    for name in ["b", "c", "d"] {
        sizes.push(sealed(&stack, &client).await["head"]["size"].as_u64().unwrap());
        client.small_file(name).await;
    }
    assert!(sizes.is_sorted() && sizes[0] > 0, "{sizes:?}");
    sealed(&stack, &client).await;
    sealed(&stack, &quiet).await;
    let (of_client, of_quiet) = (head_keys(&stack, &client).await.len(), head_keys(&stack, &quiet).await.len());
    let export = exported(&client, folder.path(), "events.ndjson").await;
    let (good, said) = verified(folder.path(), &export, &["--key", &key]).await;
    assert!(good && said.contains(&format!("in all {} signed heads", of_client + 1)), "{said}");
    // A company without new events gets no new heads.
    client.small_file("e").await;
    sealed(&stack, &client).await;
    assert!(head_keys(&stack, &client).await.len() > of_client);
    assert_eq!(head_keys(&stack, &quiet).await.len(), of_quiet);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_an_edited_removed_moved_or_truncated_event_is_reported_after_the_stream_was_recreated() {
    let stack = sealing_stack().await;
    let client = stack.client();
    for name in ["a", "b", "c"] {
        client.small_file(name).await;
    }
    let size = sealed(&stack, &client).await["head"]["size"].as_u64().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let good = exported(&client, folder.path(), "good.ndjson").await;
    let jetstream = jetstream::new(stack.nats().await);
    let mut stream = jetstream.get_stream(names::event_stream(0)).await.unwrap();
    let original = messages(&mut stream).await;
    assert_eq!(original.len() as u64, size, "the stream has only events of this company");

    let mut edited = original.clone();
    edited[4].headers.insert("Waybill-Actor", format!("user:{}", uuid::Uuid::now_v7()).as_str());
    let mut removed = original.clone();
    removed.remove(4);
    let mut moved = original.clone();
    moved.swap(4, 5);
    let truncated = original[..original.len() - 2].to_vec();
    for (what, messages, fault) in [
        ("edited", edited, "are not those of the head of"),
        ("removed", removed, "the head of"),
        ("moved", moved, "are not those of the head of"),
        ("truncated", truncated, "the end was cut off"),
    ] {
        replace(&jetstream, &mut stream, &messages).await;
        // The server signs what it reads. The earlier heads are in the export, and the auditor may have one elsewhere.
        let file = exported(&client, folder.path(), &format!("{what}.ndjson")).await;
        let (is_good, said) = verified(folder.path(), &file, &["--key", &key]).await;
        assert!(!is_good && said.contains(fault) && said.contains("epoch"), "{what}: {said}");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let without_heads = [&lines[..messages.len()], &lines[lines.len() - 1..]].concat().join("\n");
        let alone = folder.path().join("alone.ndjson");
        std::fs::write(&alone, without_heads).unwrap();
        let (is_good, said) = verified(folder.path(), &alone, &["--key", &key]).await;
        assert!(is_good, "without the stored heads nothing shows the change: {said}");
        let kept = ["--key", &key, "--head", good.to_str().unwrap()];
        let (is_good, said) = verified(folder.path(), &alone, &kept).await;
        assert!(!is_good && said.contains(fault), "{what}: {said}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_rewritten_history_stays_convicted_after_it_was_sealed_and_grew_again() {
    let stack = sealing_stack().await;
    let client = stack.client();
    for name in ["a", "b"] {
        client.small_file(name).await;
    }
    sealed(&stack, &client).await;
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let jetstream = jetstream::new(stack.nats().await);
    let mut stream = jetstream.get_stream(names::event_stream(0)).await.unwrap();
    let mut history = messages(&mut stream).await;
    let before = head_keys(&stack, &client).await.len();
    // The last event appears twice, so that the company has a new last event.
    history[2].headers.insert("Waybill-Address", "192.0.2.1");
    history.extend(history.last().cloned());
    replace(&jetstream, &mut stream, &history).await;
    let resealed = eventually("the new stream to be sealed", || async {
        let keys = head_keys(&stack, &client).await;
        if keys.len() == before { None } else { Some(head_at(&stack, &keys[0]).await) }
    })
    .await;
    assert_eq!(resealed["head"]["size"], history.len());
    let folder = tempfile::tempdir().unwrap();
    let file = exported(&client, folder.path(), "events.ndjson").await;
    let (good, said) = verified(folder.path(), &file, &["--key", &key]).await;
    assert!(!good && said.contains("are not those of the head of"), "{said}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_files_of_the_stream_that_were_replaced_by_an_older_copy_are_reported() {
    let mut cluster = Cluster::start(Counts { each: 2, ..Counts::default() }).await;
    for gateway in &mut cluster.gateways {
        gateway.restart_with(&["--audit-seal-s=1".to_owned()]).await;
    }
    let client = cluster.client();
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    send(&client, 2).await;
    cluster.backing.settled().await;
    let copy = copied(&mut cluster).await;
    send(&client, 2).await;
    let head = sealed(&cluster.backing, &client).await;
    let good = exported(&client, folder.path(), "good.ndjson").await;
    let (is_good, said) = verified(folder.path(), &good, &["--key", &key]).await;
    assert!(is_good, "two gateways seal the same tree: {said}");
    restore(&mut cluster, &copy).await;
    // The stream has the same epoch, and grows past the last sealed position with other events.
    send(&client, 4).await;
    let again = sealed(&cluster.backing, &client).await;
    assert_eq!(again["head"]["epoch"], head["head"]["epoch"]);
    let mut breaks = 0;
    for gateway in &cluster.gateways {
        breaks += gateway.metric("waybill_audit_breaks_total").await;
    }
    assert!(breaks > 0, "the gateways notice that the log does not continue the sealed tree");
    let file = exported(&client, folder.path(), "restored.ndjson").await;
    let (is_good, said) = verified(folder.path(), &file, &["--key", &key]).await;
    assert!(!is_good && said.contains("are not those of the head of"), "{said}");
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_a_proof_of_an_event_is_checked_by_python_and_a_changed_one_is_refused() {
    let stack = sealing_stack().await;
    let client = stack.client();
    for name in ["a", "b", "c"] {
        client.small_file(name).await;
    }
    sealed(&stack, &client).await;
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let verifier = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/verify-audit-proof");
    let python = async |args: &[&str]| {
        let output = tokio::process::Command::new("python3").arg(&verifier).args(args).output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let check = async |proof: &Value, key: &str| {
        let file = folder.path().join("proof.json");
        std::fs::write(&file, proof.to_string()).unwrap();
        python(&[file.to_str().unwrap(), "--key", key]).await
    };
    let (good, said) = python(&["--self-test"]).await;
    assert!(good, "{said}");
    let events = client.get("/v1/audit?limit=1000").await.expect(200).body["items"].as_array().unwrap().clone();
    let mut proofs = Vec::new();
    for event in &events {
        let position = event["position"].as_str().unwrap();
        let proof: Value = serde_json::from_str(&audited(&client, &["prove", position]).await).unwrap();
        let (good, said) = check(&proof, &key).await;
        assert!(good && said.contains(&format!("event {position} is number")), "{said}");
        proofs.push(proof);
    }
    let export = exported(&client, folder.path(), "events.ndjson").await;
    let (good, said) = verified(folder.path(), &export, &["--key", &key]).await;
    assert!(good, "{said}");
    let last = events[events.len() - 1]["position"].as_str().unwrap();
    let from_file = audited(&client, &["prove", last, "--file", export.to_str().unwrap()]).await;
    assert_eq!(serde_json::from_str::<Value>(&from_file).unwrap()["path"], proofs[proofs.len() - 1]["path"]);

    let proof = &proofs[3];
    let other = &proofs[4];
    for (what, pointer, value) in [
        ("the actor", "/event/headers/Waybill-Actor", Value::from("user:somebody")),
        ("the body", "/event/body", other["event"]["body"].clone()),
        ("the place", "/event/position", Value::from("0:9999")),
        ("the index", "/index", Value::from(4)),
        ("the path", "/path/0", other["path"][1].clone()),
        ("the root", "/head/head/root", Value::from("00".repeat(32))),
        ("the time", "/head/head/time", Value::from("2026-01-01T00:00:00.000Z")),
        ("the size", "/head/head/size", Value::from(5)),
        ("the signature", "/head/signature", Value::from("A".repeat(86) + "==")),
    ] {
        let mut changed = proof.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let (good, said) = check(&changed, &key).await;
        assert!(!good && said.starts_with("verify-audit-proof: "), "{what}: {said}");
    }
    let (good, said) = check(proof, "AAAA").await;
    assert!(!good && said.contains("another key"), "{said}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_blocks_of_the_stream_that_were_edited_on_the_disk_of_the_server_are_reported() {
    let mut cluster = Cluster::start(Counts::default()).await;
    cluster.gateways[0].restart_with(&["--audit-seal-s=1".to_owned()]).await;
    let client = cluster.client();
    send(&client, 3).await;
    sealed(&cluster.backing, &client).await;
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let copy = copied(&mut cluster).await;
    let edited = |records: &mut Vec<Record>| {
        let actor = records[3].header("Waybill-Actor");
        records[3].replace(&actor, &format!("user:{}", uuid::Uuid::now_v7()));
    };
    let removed = |records: &mut Vec<Record>| drop(records.remove(3));
    let moved = |records: &mut Vec<Record>| {
        let (third, fourth) = (records[3].clone(), records[4].clone());
        records[3] = fourth.clone().at_the_place_of(&third);
        records[4] = third.at_the_place_of(&fourth);
    };
    let truncated = |records: &mut Vec<Record>| records.truncate(records.len() - 2);
    type Tamper = fn(&mut Vec<Record>);
    let tampering: [(&str, Tamper, &str); 4] = [
        ("edited", edited, "are not those of the head of"),
        ("removed", removed, "the head of"),
        ("moved", moved, "are not those of the head of"),
        ("truncated", truncated, "the end was cut off"),
    ];
    for (what, tamper, fault) in tampering {
        restore(&mut cluster, &copy).await;
        let nats = cluster.backing.nats_server();
        nats.kill();
        let mut block = Block::read(&nats.data(), &names::event_stream(0));
        tamper(&mut block.records);
        let left = block.records.len();
        block.write();
        nats.restart().await;
        let file = folder.path().join(format!("{what}.ndjson"));
        eventually("the changed events to be exported", || async {
            let answer = client.get("/v1/audit?limit=1000").await;
            (answer.body["items"].as_array()?.len() == left).then_some(())
        })
        .await;
        audited(&client, &["export", file.to_str().unwrap()]).await;
        let (is_good, said) = verified(folder.path(), &file, &["--key", &key]).await;
        assert!(!is_good && said.contains(fault), "{what}: {said}");
    }
    // The events of the copy are whole.
    restore(&mut cluster, &copy).await;
    sealed(&cluster.backing, &client).await;
    let good = exported(&client, folder.path(), "good.ndjson").await;
    let (is_good, said) = verified(folder.path(), &good, &["--key", &key]).await;
    assert!(is_good, "{said}");
    cluster.finish().await;
}
