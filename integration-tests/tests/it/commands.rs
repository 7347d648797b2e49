//! The output of `waybill` for people, unusual arguments, and conditions that end a command.

use crate::random::Source;
use serde_json::json;
use std::time::Duration;
use waybill_integration_tests::{Cluster, CommandLine, Counts, Stack};
use waybill_test_kit::{eventually, eventually_within};

const MIB: u64 = 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_what_became_of_each_file() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let sources = [("a.bin", 5), ("b.bin", 9 * MIB)].map(|(name, size)| Source::write(home.path(), name, 800, size));
    let paths = sources.each_ref().map(|source| &source.path);
    let (told, noted) = CommandLine::told(&client, home.path(), "upload", &paths).await;
    for (source, size) in sources.iter().zip(["5 B", "9.00 MiB"]) {
        let name = source.path.file_name().unwrap().to_str().unwrap();
        assert!(told.contains(&format!("✓ {name}  {size}")), "{told}");
        assert!(told.contains(&format!("sha256 {}", source.sha256)), "{told}");
    }
    assert!(noted.contains("2 of 2 files uploaded and verified"), "{noted}");
    stack.settled().await;
    let (listed, _) = CommandLine::told(&client, home.path(), "ls", &[""; 0]).await;
    assert!(listed.contains("a.bin") && listed.contains("b.bin"), "{listed}");
    let (completions, _) = CommandLine::told(&client, home.path(), "completions", &["bash"]).await;
    assert!(completions.contains("--give-up-after"), "{completions}");
    let (help, _) = CommandLine::told(&client, home.path(), "upload", &["--help"]).await;
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_than_may_be_open_are_uploaded() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let paths: Vec<_> =
        (0..300_u64).map(|n| Source::write(home.path(), &format!("{n}.bin"), 810 + n, n).path).collect();
    let command = CommandLine::start(&client, home.path(), "upload", &paths);
    let limit = ["--nofile=64:64".to_owned(), format!("--pid={}", command.id())];
    assert!(std::process::Command::new("prlimit").args(limit).status().unwrap().success());
    let ended = command.ended().await;
    assert_eq!((ended.code, &ended.event("summary")["uploaded"]), (Some(0), &json!(300)), "{}", ended.complaints);
    let left = std::fs::read_dir(home.path().join("waybill/uploads")).unwrap().count();
    assert_eq!(left, 0, "the state of finished uploads is still there");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_into_a_chatroom_and_links_keep_their_names() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let room = uuid::Uuid::now_v7();
    let admin = format!("/v1/admin/companies/{}", client.principal.company_id);
    client.put(&admin, &json!({})).await.expect(200);
    let opened = client.put(&format!("{admin}/chatrooms/{room}"), &json!({})).await.expect(204);
    client.get_after("/v1/quota", &opened).await.expect(200);
    let member = client.principal.user_id;
    let known = client.put(&format!("{admin}/users/{member}"), &json!({})).await.expect(204);
    client.get_after("/v1/quota", &known).await.expect(200);
    let added = client.put(&format!("{admin}/chatrooms/{room}/members/{member}"), &json!({})).await.expect(204);
    client.get_after("/v1/quota", &added).await.expect(200);
    let source = Source::write(home.path(), "film.bin", 820, 2 * MIB);
    let link = home.path().join("link.bin");
    std::os::unix::fs::symlink(&source.path, &link).unwrap();
    let room_id = room.to_string();
    let args = ["--chatroom".as_ref(), room_id.as_ref(), source.path.as_os_str(), link.as_os_str()];
    let ended = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let listed = eventually("both to be in the chatroom", || async {
        let listed = client.get(&format!("/v1/files?chatroom_id={room}")).await.expect(200).body;
        (listed["items"].as_array()?.len() == 2).then_some(listed)
    })
    .await;
    let mut names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|file| file["original_name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["film.bin", "link.bin"]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_same_name_goes_on_with_more_files() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let small = Source::write(home.path(), "small.bin", 830, 100_000);
    let large = Source::write(home.path(), "large.bin", 831, 300 * MIB);
    let session = ["--session".as_ref(), "Party".as_ref()];
    let first = CommandLine::start(&client, home.path(), "upload", &[session[0], session[1], large.path.as_os_str()]);
    let id = first.event("session").await["session_id"].as_str().unwrap().to_owned();
    first.event("started").await;
    first.signal("INT");
    first.ended().await;
    let args = [session[0], session[1], large.path.as_os_str(), small.path.as_os_str()];
    let second = CommandLine::start(&client, home.path(), "upload", &args).ended().await;
    assert_eq!(second.code, Some(0), "{second:?}");
    let ended = eventually_within(Duration::from_secs(120), "the session to end", || async {
        let session = client.get(&format!("/v1/sessions/{id}")).await.body;
        (session["status"] == "COMPLETED").then_some(session)
    })
    .await;
    assert_eq!((&ended["completed_files"], &ended["total_files"]), (&json!(2), &json!(2)));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_meanwhile_is_replaced_by_the_next_one() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let source = Source::write(home.path(), "film.bin", 840, 20 * MIB);
    // A token of the right user with an invalid signature.
    let (signed, _) = client.token().rsplit_once('.').unwrap();
    let stale = format!("{signed}.{}", "A".repeat(43));
    let refused = CommandLine::start_with(&client, home.path(), "upload", &[&source.path], |command| {
        command.env("WAYBILL_TOKEN", &stale);
    });
    let refused = refused.ended().await;
    assert_eq!((refused.code, &refused.event("failed")["resumable"]), (Some(75), &json!(true)), "{refused:?}");

    let file = home.path().join("token");
    std::fs::write(&file, &stale).unwrap();
    let command = CommandLine::start_with(&client, home.path(), "upload", &[&source.path], |command| {
        command.env_remove("WAYBILL_TOKEN").env("WAYBILL_TOKEN_FILE", &file);
    });
    command.event("retrying").await;
    std::fs::write(&file, client.token()).unwrap();
    let ended = command.ended().await;
    assert_eq!((ended.code, &ended.event("uploaded")["sha256"]), (Some(0), &json!(source.sha256)), "{ended:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_url_or_token_ends_the_command_without_a_retry() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    for (url, said) in [("localhost:8080", "begin with http"), ("nonsense", "is not a URL")] {
        let ended = CommandLine::start(&client.at(url.to_owned()), home.path(), "ls", &[""; 0]).ended().await;
        assert!(ended.code == Some(1) && ended.complaints.contains(said), "{ended:?}");
    }
    let ended = CommandLine::start_with(&client, home.path(), "ls", &[""; 0], |command| {
        command.env("WAYBILL_TOKEN", "a\u{1}b");
    });
    let ended = ended.ended().await;
    assert!(ended.code == Some(1) && ended.complaints.contains("characters"), "{ended:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_command_gives_up_after_its_time_limit_with_native_and_with_tus() {
    let mut cluster = Cluster::start(Counts::default()).await;
    let client = cluster.client();
    let source = Source::write(cluster.folder(), "film.bin", 850, 100 * MIB);
    let mut commands = Vec::new();
    for protocol in ["native", "tus"] {
        let home = cluster.folder().join(protocol);
        let args = [source.path.to_str().unwrap(), "--protocol", protocol, "--give-up-after", "5"];
        let command = CommandLine::start(&client, &home, "upload", &args);
        command.event("started").await;
        // The command must not finish before the worker is killed.
        command.signal("STOP");
        commands.push((protocol, command));
    }
    // The gateway still answers requests that need no worker.
    cluster.workers[0].kill();
    for (protocol, command) in commands {
        command.signal("CONT");
        let ended = tokio::time::timeout(Duration::from_secs(60), command.ended()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{protocol} does not give up"));
        assert_eq!(ended.code, Some(75), "{ended:?}");
        assert!(ended.events.iter().any(|event| event["event"] == "retrying"), "{ended:?}");
    }
    cluster.workers[0].restart().await;
    let home = cluster.folder().join("tus");
    let args = [source.path.to_str().unwrap(), "--protocol", "tus"];
    let ended = CommandLine::start(&client, &home, "upload", &args).ended().await;
    assert_eq!((ended.code, &ended.event("uploaded")["sha256"]), (Some(0), &json!(source.sha256)), "{ended:?}");
    // The upload of the native protocol stays unfinished, because nobody resumes it.
    eventually("at most one unfinished upload to remain", || async {
        let listed = client.get("/v1/files?status=PENDING").await.expect(200).body;
        (listed["items"].as_array()?.len() <= 1).then_some(())
    })
    .await;
    cluster.finish().await;
}
