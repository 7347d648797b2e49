//! The audit: who did what with each file.

use serde_json::{Value, json};
use std::path::Path;
use uuid::Uuid;
use waybill_event_log::{EventLog, Expect, NewEvent, append};
use waybill_integration_tests::{Client, Cluster, Counts, Stack};
use waybill_schema::events::QuotaLimitSet;
use waybill_schema::{Actor, Causation, CompanyId, Entity, Envelope, Routing, Subject};
use waybill_service_kit::now;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_history_of_a_file_is_told() {
    let stack = Stack::start().await;
    let client = stack.client();
    let upload = client.start(10).await.expect(201).text("upload_id");
    client.put_chunk(&upload, 0, "0123456789").await.expect(200);
    client.complete(&upload, &json!({})).await.expect(200);
    client.file_with_status(&upload, "COMPLETED").await;
    let rename = client.request(reqwest::Method::PATCH, &format!("/v1/files/{upload}"));
    client.send(rename.json(&json!({ "display_name": "b.bin" }))).await.expect(204);
    stack.nothing_reserved(client.principal.company_id).await;
    let path = format!("/v1/audit?file_id={upload}");
    let events = eventually("all events to be there", || async {
        let items = client.get(&path).await.expect(200).body["items"].as_array().unwrap().clone();
        (items.len() == 7).then_some(items)
    })
    .await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "QuotaReserved",
            "UploadStarted",
            "MultipartOpened",
            "ChunkUploaded",
            "FileCompleted",
            "FileVerified",
            "FileRenamed"
        ]
    );
    let find = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let user = format!("user:{}", client.principal.user_id);
    for kind in ["QuotaReserved", "UploadStarted", "ChunkUploaded", "FileCompleted", "FileRenamed"] {
        assert_eq!(find(kind)["actor"], user, "{kind}");
    }
    let caused = |kind: &str, by: &str| {
        assert_eq!(find(kind)["cause"], format!("event:{}", find(by)["position"].as_str().unwrap()));
    };
    caused("UploadStarted", "QuotaReserved");
    caused("FileVerified", "FileCompleted");
    // Several files are settled in one event, which only the audit of the company has.
    let all = client.get("/v1/audit?limit=1000").await.expect(200).body["items"].as_array().unwrap().clone();
    let settled = all.iter().find(|event| event["type"] == "QuotaSettled").unwrap();
    assert_eq!(settled["data"], json!({ "items": [{ "upload_id": upload, "bytes_used": 10 }] }));
    assert_eq!(settled["cause"], format!("event:{}", find("FileVerified")["position"].as_str().unwrap()));
    assert!(find("FileVerified")["actor"].as_str().unwrap().starts_with("worker:"));
    assert!(find("QuotaReserved")["cause"].as_str().unwrap().starts_with("request:"));
    for event in &events {
        assert!(event["time"].as_str().unwrap().ends_with('Z') && event["position"].is_string(), "{event}");
    }
    let times: Vec<&Value> = events.iter().map(|event| &event["time"]).collect();
    assert!(times.windows(2).all(|pair| pair[0].as_str() <= pair[1].as_str()), "{times:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_event_of_the_company_once() {
    let stack = Stack::start().await;
    let (client, other) = (stack.client(), stack.client());
    for _ in 0..3 {
        client.small_file("a.txt").await;
        other.small_file("b.txt").await;
    }
    // The events of shared content come last.
    stack.settled().await;
    let whole = client.get("/v1/audit?limit=1000").await.expect(200).body;
    assert_eq!(whole["next_cursor"], json!(null));
    let mut paged = Vec::new();
    let mut path = "/v1/audit?limit=4".to_owned();
    loop {
        let page = client.get(&path).await.expect(200).body;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=4&cursor={cursor}");
    }
    assert_eq!(Some(&paged), whole["items"].as_array());
    let company = client.principal.company_id.to_string();
    assert!(paged.iter().all(|event| event["subject"].as_str().unwrap().contains(&company)));

    let user = stack.client_for(client.principal.company_id, &[]);
    user.get("/v1/audit").await.refused(403, "role_required");
    let cursor = client.get("/v1/audit?limit=1").await.text("next_cursor");
    other.get(&format!("/v1/audit?cursor={cursor}")).await.refused(400, "cursor_invalid");
    stack.finish().await;
}

/// Appends events of a company.
async fn append_some(log: &dyn EventLog, company: CompanyId, count: u64) {
    let subject = Subject::new(company, Entity::Quota);
    let mut last = log.last(subject).await.unwrap().map_or(0, |last| last.position.seq);
    for storage_limit_bytes in 1..=count {
        let envelope = Envelope {
            time: now(),
            actor: Actor::Service("test".to_owned()),
            causation: Causation::Request(Uuid::now_v7()),
            address: None,
            routing: Routing::default(),
        };
        let event = QuotaLimitSet { storage_limit_bytes, is_of_host: true }.into();
        let new = NewEvent { subject, envelope, event, expect: Expect::LastSeq(last), message_id: None };
        last = append(log, new).await.unwrap().seq;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_among_those_of_others_also_while_nobody_folds_them() {
    let cluster = Cluster::start(Counts::default()).await;
    let log = cluster.backing.log();
    let client = cluster.client();
    let partition = log.partitions().of(client.principal.company_id);
    let mut others = std::iter::repeat_with(|| cluster.client());
    let other = others.find(|other| log.partitions().of(other.principal.company_id) == partition).unwrap();
    other.start(10).await.expect(201);
    let other = other.principal.company_id;
    let mut uploads = Vec::new();
    for count in [600, 300] {
        uploads.push(client.start(10).await.expect(201).text("upload_id"));
        append_some(log, other, count).await;
    }
    cluster.backing.settled().await;
    cluster.projectors[0].hang();
    uploads.push(client.start(10).await.expect(201).text("upload_id"));
    append_some(log, other, 300).await;
    uploads.push(client.start(10).await.expect(201).text("upload_id"));

    let mut path = "/v1/audit?limit=2".to_owned();
    let mut found = Vec::new();
    loop {
        let page = client.get(&path).await.expect(200).body;
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=2&cursor={cursor}");
    }
    let started: Vec<String> = found
        .iter()
        .filter(|event| event["type"] == "UploadStarted")
        .map(|event| event["subject"].as_str().unwrap().rsplit('.').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(started, uploads, "{found:?}");
    let company = client.principal.company_id.to_string();
    assert!(found.iter().all(|event| event["subject"].as_str().unwrap().contains(&company)));
    let export = client.request(reqwest::Method::GET, "/v1/audit/export").send().await.unwrap();
    assert_eq!(export.text().await.unwrap().lines().count(), found.len() + 1, "the events and the head");
    cluster.projectors[0].go_on();
    cluster.finish().await;
}

/// Runs `waybill audit verify`. Returns `true` if the file is valid, and the output.
pub(crate) async fn verified(folder: &Path, file: &Path, more: &[&str]) -> (bool, String) {
    let mut args = vec!["verify", file.to_str().unwrap()];
    args.extend(more);
    let output = tokio::process::Command::new(waybill_test_kit::settings("WAYBILL_TEST_BIN"))
        .arg("audit")
        .args(args)
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Runs another subcommand of `waybill audit` for a client. Returns its output.
pub(crate) async fn audited(client: &Client, args: &[&str]) -> String {
    let output = tokio::process::Command::new(waybill_test_kit::settings("WAYBILL_TEST_BIN"))
        .arg("audit")
        .args(args)
        .env("WAYBILL_URL", client.url())
        .env("WAYBILL_TOKEN", client.token())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_verification_detects_every_change_of_an_audit_export() {
    let stack = Stack::start().await;
    let client = stack.client();
    for name in ["a", "b", "c"] {
        client.small_file(name).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = client.get("/v1/audit/key").await.expect(200).text("public_key");
    let export = async |name: &str| {
        let file = folder.path().join(name);
        audited(&client, &["export", file.to_str().unwrap()]).await;
        file
    };
    let first = export("first.ndjson").await;
    let (good, said) = verified(folder.path(), &first, &["--key", &key]).await;
    assert!(good, "{said}");
    let text = std::fs::read_to_string(&first).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines.len() > 8, "{}", lines.len());
    assert!(text.contains("FileUploaded") && !text.contains(client.token()));
    let changed = |lines: Vec<String>| {
        let file = folder.path().join("changed.ndjson");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        file
    };
    let with = |at: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        assert!(lines[at].contains(from), "{}", lines[at]);
        lines[at] = lines[at].replacen(from, to, 1);
        lines
    };
    let uploaded = lines.iter().position(|line| line.contains("\"original_name\":\"b\"")).unwrap();
    let name = |line: usize| format!("line {}, ", line + 1);
    let mut removed = lines.clone();
    removed.remove(3);
    let mut moved = lines.clone();
    moved.swap(3, 4);
    let mut cut = lines.clone();
    cut.remove(lines.len() - 2);
    let headless = lines[..lines.len() - 1].to_vec();
    for (what, lines, fault) in [
        ("who did it", with(uploaded, "user:", "user:0"), name(uploaded)),
        ("what it says", with(uploaded, "\"original_name\":\"b\"", "\"original_name\":\"d\""), name(uploaded)),
        ("removed", removed, name(3)),
        ("moved", moved, name(3)),
        ("the last one cut off", cut, "cut off".to_owned()),
        ("the head cut off", headless, "cut off".to_owned()),
        ("the head", with(lines.len() - 1, "\"size\":", "\"size\":1"), "signature".to_owned()),
    ] {
        let (good, said) = verified(folder.path(), &changed(lines), &["--key", &key]).await;
        assert!(!good && said.contains(&fault), "{what}: {said}");
    }
    // A saved head shows that a later export of a changed log leaves events out.
    let head = folder.path().join("head.json");
    std::fs::write(&head, lines.last().unwrap()).unwrap();
    client.small_file("d").await;
    let second = export("second.ndjson").await;
    let (good, said) = verified(folder.path(), &second, &["--key", &key, "--head", head.to_str().unwrap()]).await;
    assert!(good, "{said}");
    let later = folder.path().join("later.json");
    std::fs::write(&later, std::fs::read_to_string(&second).unwrap().lines().last().unwrap()).unwrap();
    let (good, said) = verified(folder.path(), &first, &["--key", &key, "--head", later.to_str().unwrap()]).await;
    assert!(!good && said.contains("cut off"), "{said}");
    let (good, said) = verified(folder.path(), &first, &["--key", "AAAA"]).await;
    assert!(!good && said.contains("another key"), "{said}");
    // The key in the file is never believed.
    let (good, said) = verified(folder.path(), &first, &[]).await;
    assert!(!good && said.contains("--key"), "{said}");
    // Only auditors can export, and only the audit of their own company.
    let user = stack.client_for(client.principal.company_id, &[]);
    user.get("/v1/audit/export").await.refused(403, "role_required");
    let stranger = stack.client();
    let theirs = stranger.request(reqwest::Method::GET, "/v1/audit/export").send().await.unwrap().text().await.unwrap();
    assert_eq!(theirs.lines().count(), 1, "{theirs}");
    stack.finish().await;
}
