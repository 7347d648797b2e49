//! `waybill upload`: resumed uploads, sessions and exit codes.

use crate::random::Source;
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Client, CommandLine, Options, Stack};
use waybill_test_kit::{eventually, eventually_within};

const MIB: u64 = 1_024 * 1_024;
const NO_ARGS: [&str; 0] = [];

async fn stored(client: &Client, upload: &str, at_least: u64) -> u64 {
    eventually_within(Duration::from_secs(60), "the upload to run", || async {
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
    assert_eq!(left, 0, "the state of a finished upload is still there");
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
    // These protocols have no special requests for small and empty files.
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
    assert_eq!(status.text("status"), "CANCELLED", "the old upload is still open");
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
    eventually("the smaller files to be uploaded", || async { (uploaded(first.events()) == 2).then_some(()) }).await;
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
async fn exit_codes_tell_what_to_do() {
    let stack = Stack::with(Options { args: vec!["--max-file-bytes=5000".to_owned()], ..Options::default() }).await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let small = Source::write(home.path(), "small.bin", 730, 5_000);
    let large = Source::write(home.path(), "large.bin", 731, 5_001);
    let both = CommandLine::start(&client, home.path(), "upload", &[&small.path, &large.path]).ended().await;
    assert_eq!(both.code, Some(1), "{both:?}");
    assert_eq!((&both.event("summary")["uploaded"], &both.event("failed")["resumable"]), (&json!(1), &json!(false)));
    assert!(both.complaints.contains("file_too_large"), "{both:?}");

    // A missing file and a directory fail, and the other files are uploaded.
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
