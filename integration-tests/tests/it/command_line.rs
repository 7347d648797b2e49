//! `waybill upload`, `get` and the others, as their users run them.

use crate::random::{Source, bytes};
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Client, CommandLine, Fault, Options, Request, Stack, StoreFront};
use waybill_test_kit::{NatsServer, eventually, eventually_within, settings};

const MIB: u64 = 1_024 * 1_024;
const NO_ARGS: [&str; 0] = [];

async fn stored(client: &Client, upload: &str, at_least: u64) -> u64 {
    eventually_within(Duration::from_secs(60), "the upload to be under way", || async {
        let status = client.get(&format!("/v1/uploads/{upload}")).await;
        status.body["bytes_uploaded"].as_u64().filter(|stored| *stored >= at_least)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_goes_on_with_the_same_command() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let source = Source::write(home.path(), "film.bin", 700, 300 * MIB);
    let first = CommandLine::start(&client, home.path(), "upload", &[&source.path]);
    let upload = first.event("started").await["upload_id"].as_str().unwrap().to_owned();
    stored(&client, &upload, 60 * MIB).await;
    first.signal("INT");
    let interrupted = first.ended().await;
    assert_eq!(interrupted.code, Some(130), "{interrupted:?}");
    assert!(interrupted.complaints.contains("run the same command again"), "{interrupted:?}");

    let second = CommandLine::start(&client, home.path(), "upload", &[&source.path]).ended().await;
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(second.event("resumed")["upload_id"], upload.as_str());
    let uploaded = second.event("uploaded");
    assert_eq!((&uploaded["file_id"], &uploaded["sha256"]), (&json!(upload), &json!(source.sha256)));
    assert!(uploaded["sent_bytes"].as_u64().unwrap() <= 240 * MIB, "{uploaded}");
    let left = std::fs::read_dir(home.path().join("waybill/uploads")).unwrap().count();
    assert_eq!(left, 0, "what is done is forgotten");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_goes_on_where_it_was_interrupted() {
    let stack = Stack::start().await;
    for (seed, protocol) in [(703, "tus"), (704, "direct")] {
        let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
        let source = Source::write(home.path(), "film.bin", seed, 200 * MIB + 5);
        let path = source.path.to_str().unwrap();
        let args = [path, "--protocol", protocol];
        let first = CommandLine::start(&client, home.path(), "upload", &args);
        let upload = first.event("started").await["upload_id"].as_str().unwrap().to_owned();
        stored(&client, &upload, 20 * MIB).await;
        first.signal("INT");
        first.ended().await;
        let second = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
        assert_eq!(second.code, Some(0), "{second:?}");
        assert_eq!(second.event("resumed")["upload_id"], upload.as_str());
        let uploaded = second.event("uploaded");
        assert_eq!((&uploaded["file_id"], &uploaded["sha256"]), (&json!(upload), &json!(source.sha256)));
        assert!(uploaded["sent_bytes"].as_u64().unwrap() <= 180 * MIB + 5, "{uploaded}");
    }
    // Small and empty files have no way of their own in these.
    for protocol in ["tus", "direct"] {
        let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
        std::fs::write(home.path().join("empty.txt"), "").unwrap();
        std::fs::write(home.path().join("small.txt"), "hello").unwrap();
        let paths = ["empty.txt", "small.txt"].map(|name| home.path().join(name).to_str().unwrap().to_owned());
        let args = [paths[0].as_str(), &paths[1], "--protocol", protocol];
        let ended = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_meanwhile_is_uploaded_anew() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let source = Source::write(home.path(), "film.bin", 701, 200 * MIB);
    let first = CommandLine::start(&client, home.path(), "upload", &[&source.path]);
    let upload = first.event("started").await["upload_id"].as_str().unwrap().to_owned();
    stored(&client, &upload, 20 * MIB).await;
    first.signal("KILL");
    first.ended().await;
    let changed = Source::write(home.path(), "film.bin", 702, 100 * MIB);
    let second = CommandLine::start(&client, home.path(), "upload", &[&changed.path]).ended().await;
    assert_eq!((second.code, &second.event("uploaded")["sha256"]), (Some(0), &json!(changed.sha256)), "{second:?}");
    assert_ne!(second.event("uploaded")["file_id"], upload.as_str());
    let status = client.get(&format!("/v1/uploads/{upload}")).await.expect(200);
    assert_eq!(status.text("status"), "CANCELLED", "nobody would go on with the old one");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_go_into_a_session_and_come_back() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let sizes = [0, 1, 100_000, MIB, MIB + 1, 8 * MIB, 20 * MIB + 7];
    let sources: Vec<Source> =
        (0..).zip(sizes).map(|(n, size)| Source::write(home.path(), &format!("file-{n}.bin"), 710 + n, size)).collect();
    let mut args = vec!["--session".into(), "Summer".into()];
    args.extend(sources.iter().map(|source| source.path.clone().into_os_string()));
    let ended = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let summary = ended.event("summary");
    assert_eq!((&summary["uploaded"], &summary["failed"], &summary["resumable"]), (&json!(7), &json!(0), &json!(0)));
    let session = ended.event("session")["session_id"].as_str().unwrap().to_owned();
    let session = eventually("the session to end", || async {
        let session = client.get(&format!("/v1/sessions/{session}")).await.body;
        (session["status"] == "COMPLETED").then_some(session)
    })
    .await;
    assert_eq!((&session["completed_files"], &session["session_name"]), (&json!(7), &json!("Summer")));

    let listed = CommandLine::start(&client, home.path(), "ls", &NO_ARGS).ended().await;
    assert_eq!((listed.code, listed.events.len()), (Some(0), 7));
    let downloads = home.path().join("downloads");
    let mut args = vec!["--dir".to_owned(), downloads.display().to_string()];
    args.extend(listed.events.iter().map(|file| file["id"].as_str().unwrap().to_owned()));
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!(got.code, Some(0), "{got:?}");
    for source in &sources {
        let copy = downloads.join(source.path.file_name().unwrap());
        assert!(std::fs::read(copy).unwrap() == std::fs::read(&source.path).unwrap());
    }
    let quota = CommandLine::start(&client, home.path(), "quota", &NO_ARGS).ended().await;
    assert_eq!(quota.events[0]["storage_used_bytes"], sizes.iter().sum::<u64>());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_files_those_that_are_there_are_not_sent_again() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let small = Source::write(home.path(), "small.bin", 750, 100_000);
    let medium = Source::write(home.path(), "medium.bin", 751, 9 * MIB);
    let large = Source::write(home.path(), "large.bin", 752, 300 * MIB);
    let args = [
        "--session".as_ref(),
        "Party".as_ref(),
        small.path.as_os_str(),
        medium.path.as_os_str(),
        large.path.as_os_str(),
    ];
    let first = CommandLine::start(&client, home.path(), "upload", &args);
    let uploaded = |events: Vec<serde_json::Value>| events.iter().filter(|event| event["event"] == "uploaded").count();
    eventually("the smaller ones to be there", || async { (uploaded(first.events()) == 2).then_some(()) }).await;
    first.signal("INT");
    assert_eq!(first.ended().await.code, Some(130));
    let second = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
    assert_eq!((second.code, &second.event("summary")["uploaded"]), (Some(0), &json!(3)), "{second:?}");
    assert!(second.event("summary")["sent_bytes"].as_u64().unwrap() <= 300 * MIB, "{second:?}");
    stack.settled().await;
    let quota = client.get("/v1/quota").await.expect(200).body;
    assert_eq!((&quota["file_count"], &quota["storage_used_bytes"]), (&json!(3), &json!(100_000 + 309 * MIB)));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_watched_to_its_end() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let session = client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let watch = CommandLine::start(&client, home.path(), "watch", &["--session", &session]);
    eventually("the snapshot", || async { watch.events().into_iter().find(|frame| frame["t"] == "snap") }).await;
    client.post_file(&format!("name=a.txt&mime_type=text/plain&session_id={session}"), "hello").await.expect(201);
    client.post(&format!("/v1/sessions/{session}/close"), &json!({})).await.expect(204);
    assert_eq!(watch.ended().await.code, Some(0));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_stopped_and_is_checked() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let content = bytes(720, 3_000_000);
    let posted = client.post_file("name=a.bin&mime_type=application/octet-stream", content.clone()).await.expect(201);
    let id = posted.text("file_id");
    let target = home.path().join("copy.bin");
    let args = [id.clone(), "--output".to_owned(), target.display().to_string()];
    let part = home.path().join(format!(".waybill-{id}.part"));
    let own = home.path().join("copy.bin.part");
    std::fs::write(&own, b"of a browser").unwrap();
    std::fs::write(&part, &content[..1_234_567]).unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, &got.event("resumed")["offset_bytes"]), (Some(0), &json!(1_234_567)), "{got:?}");
    assert!(std::fs::read(&target).unwrap() == content);

    // A beginning that is another file's does not become this one.
    std::fs::remove_file(&target).unwrap();
    std::fs::write(&part, bytes(721, 1_000)).unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!(got.code, Some(1), "{got:?}");
    assert!(!target.exists() && !part.exists());

    // What is there is not written over.
    std::fs::write(&target, b"mine").unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, std::fs::read(&target).unwrap()), (Some(1), b"mine".to_vec()));
    assert_eq!(std::fs::read(&own).unwrap(), b"of a browser", "what is not ours stays");

    // Of two that fetch the same, one does.
    std::fs::remove_file(&target).unwrap();
    let held = std::fs::File::create(&part).unwrap();
    held.lock().unwrap();
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert_eq!((got.code, &got.event("failed")["resumable"]), (Some(75), &json!(true)), "{got:?}");
    drop(held);
    let got = CommandLine::start(&client, home.path(), "get", &args).ended().await;
    assert!(got.code == Some(0) && std::fs::read(&target).unwrap() == content && !part.exists(), "{got:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_to_do() {
    let stack = Stack::with(Options { args: vec!["--max-file-bytes=5000".to_owned()], ..Options::default() }).await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let small = Source::write(home.path(), "small.bin", 730, 5_000);
    let large = Source::write(home.path(), "large.bin", 731, 5_001);
    let both = CommandLine::start(&client, home.path(), "upload", &[&small.path, &large.path]).ended().await;
    assert_eq!(both.code, Some(1), "{both:?}");
    assert_eq!((&both.event("summary")["uploaded"], &both.event("failed")["resumable"]), (&json!(1), &json!(false)));
    assert!(both.complaints.contains("file_too_large"), "{both:?}");

    // What is no file keeps nothing else back.
    let third = Source::write(home.path(), "third.bin", 732, 3);
    let args = [home.path().join("there is none"), third.path.clone(), home.path().to_owned()];
    let missing = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
    assert_eq!(missing.code, Some(1));
    let summary = missing.event("summary");
    assert_eq!((&summary["files"], &summary["uploaded"], &summary["failed"]), (&json!(3), &json!(1), &json!(2)));
    let failed = missing.events.iter().filter(|event| event["event"] == "failed" && event["resumable"] == false);
    assert_eq!(failed.count(), 2, "{missing:?}");
    let nowhere = client.at("http://127.0.0.1:9".to_owned());
    let args = [small.path.as_os_str(), "--give-up-after".as_ref(), "1".as_ref()];
    let later = CommandLine::start(&nowhere, home.path(), "upload", &args).ended().await;
    assert_eq!((later.code, &later.event("failed")["resumable"]), (Some(75), &json!(true)), "{later:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_watched_and_its_events_followed() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let content = bytes(740, 9_000_000);
    let upload = client.start(content.len() as u64).await.expect(201).text("upload_id");
    let watch = CommandLine::start(&client, home.path(), "watch", &[&upload]);
    eventually("the snapshot", || async { watch.events().into_iter().find(|frame| frame["t"] == "snap") }).await;
    let follow = CommandLine::start_plain(&client, home.path(), "audit", &["--follow", "--file", &upload]);
    eventually("the first events", || async {
        follow.events().into_iter().find(|event| event["type"] == "UploadStarted")
    })
    .await;
    for (index, chunk) in content.chunks(8 * 1_024 * 1_024).enumerate() {
        client.put_chunk(&upload, index, chunk.to_vec()).await.expect(200);
    }
    client.complete(&upload, &json!({})).await.expect(200);
    let watched = watch.ended().await;
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.events.iter().any(|frame| frame["kind"] == "FileVerified"), "{watched:?}");
    eventually("the last event", || async {
        follow.events().into_iter().find(|event| event["type"] == "FileVerified")
    })
    .await;
    let positions: Vec<u64> = follow
        .events()
        .iter()
        .map(|event| event["position"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap())
        .collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "each once, and in order: {positions:?}");
    stack.finish().await;
}

/// The arguments of `waybill doctor` for a stack.
fn doctor_settings(stack: &Stack) -> Vec<String> {
    let of_roles = ["--allowed-origins", "--projector-lease-ms", "--worker-budget-mib"];
    let settings = stack.arguments("doctor", &[]).split_off(2);
    settings.into_iter().filter(|arg| !of_roles.iter().any(|role| arg.starts_with(role))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_missing() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let settings = doctor_settings(&stack);
    let healthy = CommandLine::start(&client, home.path(), "doctor", &settings).ended().await;
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    assert!(healthy.events.len() > 10 && healthy.events.iter().all(|check| check["ok"] == true), "{healthy:?}");

    let mut wrong = settings.clone();
    wrong.extend(
        ["--partitions=2", "--database-schema=nobody", "--s3-bucket=there-is-none", "--worker-secret=short"]
            .map(str::to_owned),
    );
    wrong.retain(|arg| {
        !(settings.contains(arg)
            && ["--partitions", "--s3-bucket", "--worker-secret"].iter().any(|name| arg.starts_with(name)))
    });
    let ill = CommandLine::start(&client, home.path(), "doctor", &wrong).ended().await;
    assert_eq!(ill.code, Some(1), "{ill:?}");
    let complaints: Vec<&str> =
        ill.events.iter().filter(|check| check["ok"] == false).map(|check| check["detail"].as_str().unwrap()).collect();
    for advice in ["set WAYBILL_PARTITIONS=1", "run `waybill provision`", "WAYBILL_S3_ENDPOINT", "32 are needed"] {
        assert!(complaints.iter().any(|complaint| complaint.contains(advice)), "{advice} is missing in {complaints:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_refused_login_from_a_server_that_does_not_answer() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let config = home.path().join("nats.conf");
    let base = std::fs::read_to_string(settings("WAYBILL_TEST_NATS_CONFIG")).unwrap();
    // Without a login, nothing may be asked.
    let nobody = r#"{ user: nobody, password: x, permissions: { publish: { deny: ">" } } }"#;
    let users = format!(r#"authorization {{ users: [{{ user: waybill, password: "right@" }}, {nobody}] }}"#);
    std::fs::write(&config, format!("{base}\n{users}\nno_auth_user: nobody\n")).unwrap();
    let nats = NatsServer::start_with(&config).await;
    let address = nats.url().strip_prefix("nats://").unwrap();
    for (nats_url, says, does_not_say) in [
        (format!("nats://waybill:wrong@{address}"), "refuses the login", "does not answer"),
        (format!("nats://waybill:right%40@{address}"), "run `waybill provision`", "login"),
        ("nats://127.0.0.1:9".to_owned(), "does not answer", "refuses the login"),
    ] {
        let mut settings = doctor_settings(&stack);
        settings.retain(|argument| !argument.starts_with("--nats-url"));
        settings.push(format!("--nats-url={nats_url}"));
        let found = CommandLine::start(&client, home.path(), "doctor", &settings).ended().await;
        assert_eq!(found.code, Some(1), "{found:?}");
        let wrong = found.events.iter().find(|finding| finding["ok"] == false).expect("something is wrong");
        let detail = wrong["detail"].as_str().unwrap();
        assert!(detail.contains(says) && !detail.contains(does_not_say), "{wrong}");
    }
    stack.finish().await;
}

/// A bucket that ends uploads after two days and deletes old files.
const RULES: &str = "<LifecycleConfiguration>\
    <Rule><ID>old logs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter>\
    <Expiration><Days>1</Days></Expiration></Rule>\
    <Rule><ID>retention</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
    <Expiration><Days>90</Days></Expiration></Rule>\
    <Rule><ID>parts</ID><Status>Enabled</Status><Filter/>\
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
    </LifecycleConfiguration>";

const REFUSED: Fault = Fault::Answer(403, "AccessDenied");

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_a_store_does_not_do() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let front = StoreFront::start(&settings("WAYBILL_TEST_S3_ENDPOINT")).await;
    let look = async |more: &[&str]| {
        let mut settings = doctor_settings(&stack);
        settings.retain(|argument| !argument.starts_with("--s3-endpoint"));
        settings.push(front.argument());
        settings.extend(more.iter().map(|argument| (*argument).to_owned()));
        CommandLine::start(&client, home.path(), "doctor", &settings).ended().await
    };
    type Rule = fn(&Request) -> Option<Fault>;
    let cases: [(Rule, &[&str], &str, &str, &str); 8] = [
        (|_| None, &[], "lists of multipart uploads", "ok", "as needed"),
        (|of| of.asks("versioning").then_some(REFUSED), &[], "versions", "limit", "s3:GetBucketVersioning"),
        (|of| of.asks("lifecycle").then_some(REFUSED), &[], "rules of the lifecycle", "limit", "AccessDenied"),
        (
            |of| of.asks("lifecycle").then_some(Fault::Document(RULES)),
            &[],
            "rules of the lifecycle",
            "error",
            "\"parts\" ends multipart uploads before WAYBILL_UPLOAD_LIFETIME_S, which is 604800 s",
        ),
        (
            |of| of.asks("lifecycle").then_some(Fault::Document(RULES)),
            &["--upload-lifetime-s=86400"],
            "rules of the lifecycle",
            "limit",
            "\"retention\" deletes objects",
        ),
        (
            |of| {
                (of.method == "PUT" && of.head.contains("copy-source")).then_some(Fault::Answer(501, "NotImplemented"))
            },
            &[],
            "copies",
            "error",
            "NotImplemented",
        ),
        (|_| None, &["--s3-public-endpoint=http://127.0.0.1:9"], "uploads by clients", "limit", "does not answer"),
        (
            |of| (of.asks("partNumber=1&") && of.target.contains("X-Amz-Signature")).then_some(Fault::Document("")),
            &[],
            "uploads by clients",
            "error",
            "wrong CRC-32",
        ),
    ];
    for (rule, more, check, level, text) in cases {
        front.set(rule);
        let found = look(more).await;
        assert_eq!(found.code, Some(i32::from(level == "error")), "{check}: {found:?}");
        let name = format!("store: {check}");
        let finding =
            found.events.iter().find(|finding| finding["check"] == name.as_str()).expect("the check was made");
        assert_eq!((&finding["level"], &finding["ok"]), (&json!(level), &json!(level != "error")), "{finding}");
        assert!(finding["detail"].as_str().unwrap().contains(text), "{finding}");
        let others = found.events.iter().filter(|finding| finding["check"] != name.as_str());
        for other in others {
            assert_eq!(other["level"], "ok", "{check}: {other}");
        }
    }
    stack.finish().await;
}
