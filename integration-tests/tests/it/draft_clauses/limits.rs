//! `Upload-Limit`: size and lifetime.

use super::{INCONSISTENT_LENGTH, PARTIAL, chunked, is_file, is_gone, limits, open, patch};
use crate::random::bytes;
use crate::speaker::{Reply, Speaker};
use reqwest::{Body, Method};
use std::io::{ErrorKind, Read, Write};
use waybill_integration_tests::{Options, Stack};
use waybill_service_kit::now;
use waybill_test_kit::eventually;

async fn with_args(args: &[&str]) -> Stack {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Stack::with(Options { args, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_1_9_12_whoever_asks_beforehand_is_told_all_limits() {
    let stack = with_args(&["--max-file-bytes=1000000", "--upload-lifetime-s=3600"]).await;
    let (draft, plain) = (Speaker::draft(stack.client(), 9), Speaker::plain(stack.client()));
    for speaker in [&draft, &plain] {
        for path in ["/tus/", "/tus"] {
            let told = speaker.options(path, &[]).await.expect(204);
            assert_eq!(limits(&told).get("max-size"), Some(&1_000_000));
            // A later answer must not have lower limits.
            assert_eq!(limits(&told).get("max-age"), Some(&3_600), "the lifetime is a limit");
        }
    }
    let without_token = reqwest::Client::new().request(Method::OPTIONS, format!("{}/tus/", stack.url()));
    assert_eq!(without_token.send().await.unwrap().status().as_u16(), 204, "limits are public");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_1_create_7_head_4_a_new_upload_says_all_its_limits() {
    let stack = with_args(&["--max-file-bytes=1000000", "--upload-lifetime-s=3600"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    for body in ["", "hello"] {
        let created = draft.post(&[("Upload-Complete", "?0")], body).await.expect(201);
        let known = draft.head(&created.location()).await.expect(204);
        for told in [known, created] {
            assert_eq!(limits(&told).get("max-size"), Some(&1_000_000));
            let max_age = limits(&told).get("max-age").copied().expect("the lifetime is a limit");
            assert!((3_500..=3_600).contains(&max_age), "{max_age}");
        }
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_2_13_14_what_is_said_to_be_too_large_is_refused_with_the_limit() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let too_large = |reply: Reply| {
        let reply = reply.refused(413, "file_too_large").without("Location");
        assert_eq!(limits(&reply).get("max-size"), Some(&1_000));
    };
    too_large(draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1001")], "").await);
    too_large(draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1001")], "hello").await);
    too_large(draft.post(&[("Upload-Complete", "?1")], vec![0; 1_001]).await);
    let upload = open(&draft, None).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?0"), ("Upload-Length", "1001"), PARTIAL];
    too_large(patch(&draft, &upload, &headers, "hello").await);
    draft.head(&upload).await.expect(204).with("Upload-Offset", "0").without("Upload-Length");
    draft.append(&upload, 0, true, vec![0; 1_000]).await.expect(200).with("Upload-Complete", "?1");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_2_13_what_grows_too_large_is_refused_with_the_limit() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    for last in [false, true] {
        for body in [Body::from(vec![0; 601]), chunked(vec![0; 601])] {
            let upload = open(&draft, None).await;
            draft.append(&upload, 0, false, vec![0; 400]).await.expect(204);
            let refused = draft.append(&upload, 400, last, body).await.expect(413).with("Upload-Complete", "?0");
            assert_eq!(limits(&refused).get("max-size"), Some(&1_000));
            assert_ne!(refused.json()["type"], INCONSISTENT_LENGTH, "the client declared no length");
            let offset = draft.head(&upload).await;
            assert!(offset.status == 410 || offset.header("Upload-Offset") == Some("400"), "{offset:?}");
        }
    }
    let refused = draft.post(&[("Upload-Complete", "?1")], chunked(vec![0; 1_001])).await.expect(413);
    assert_eq!(limits(&refused).get("max-size"), Some(&1_000));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_3_4_5_there_are_no_limits_to_the_size_of_a_request() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    let told = [draft.options("/tus/", &[]).await, draft.head(&upload).await];
    for told in &told {
        let limits = limits(told);
        for none in ["min-size", "max-append-size", "min-append-size"] {
            assert_eq!(limits.get(none), None);
        }
    }
    // Appends of one byte work, and so does an append that is larger than the memory for it.
    let content = bytes(2_010, 20 * 1_024 * 1_024);
    draft.append(&upload, 0, false, content[..1].to_vec()).await.expect(204);
    draft.append(&upload, 1, false, content[1..2].to_vec()).await.expect(204);
    draft.append(&upload, 2, true, content[2..].to_vec()).await.expect(200);
    is_file(&draft.client, &upload, &content).await;
    let tiny = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "1")], "").await.expect(201).location();
    draft.append(&tiny, 0, true, "x").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_6_7_8_sec_7_the_lifetime_is_counted_down_and_appends_do_not_prolong_it() {
    let stack = with_args(&["--upload-lifetime-s=8"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let idle = open(&draft, Some(10)).await;
    let upload = open(&draft, Some(1_000_000)).await;
    let started = now().0;
    let (mut ages, mut ends, mut offset) = (Vec::new(), Vec::new(), 0);
    let ended = loop {
        let head = draft.head(&upload).await;
        if head.status != 204 {
            break head;
        }
        assert_eq!(limits(&head).get("max-size"), Some(&(10 << 30)));
        let age = i64::try_from(limits(&head)["max-age"]).unwrap();
        ages.push(age);
        ends.push(now().0 + age * 1_000);
        assert!(now().0 < started + 40_000, "small appends extend the lifetime: {ages:?}");
        let empty = draft.append(&upload, offset, false, "").await;
        let appended = draft.append(&upload, offset, false, "x").await;
        if let Some(ended) = [empty, appended].into_iter().find(|reply| reply.status != 204) {
            break ended;
        }
        offset += 1;
    };
    ended.expect(410);
    assert!(offset > 0 && ages.iter().max() <= Some(&8) && ages.last() < ages.first(), "{ages:?}");
    // `max-age` has whole seconds.
    assert!(ends.iter().all(|end| *end > ends[0] - 2_000), "the expiry moved forward: {ends:?}");
    is_gone(&draft, &upload, offset).await;
    is_gone(&draft, &idle, 0).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_7_abort_1_a_trickle_does_not_outlive_the_upload() {
    let stack = with_args(&["--upload-lifetime-s=3"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, Some(100_000)).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1"), PARTIAL];
    let mut socket = draft.begin("PATCH", &upload, &headers, 100_000, b"a");
    socket.set_nonblocking(true).unwrap();
    let mut answer = [0; 1_024];
    let answer = eventually("the slow request to be ended", || {
        let sent = socket.write(b"a").map_err(|error| error.kind());
        let end = match (sent, socket.read(&mut answer)) {
            (_, Ok(length)) => Some(String::from_utf8_lossy(&answer[..length]).into_owned()),
            (Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), _) => Some(String::new()),
            _ => None,
        };
        async { end }
    })
    .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 410 "), "{answer}");
    draft.head(&upload).await.expect(410);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_7_8_sizes_stay_the_same_throughout_an_upload() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let draft = Speaker::draft(stack.client(), 9);
    let told_before = limits(&draft.options("/tus/", &[]).await)["max-size"];
    let created = draft.post(&[("Upload-Complete", "?0")], "").await.expect(201);
    assert_eq!(limits(&created)["max-size"], told_before);
    let upload = created.location();
    for offset in [0, 300, 600] {
        draft.append(&upload, offset, false, vec![0; 300]).await.expect(204);
        assert_eq!(limits(&draft.head(&upload).await.expect(204))["max-size"], told_before);
    }
    // An upload of exactly the limit is accepted.
    draft.append(&upload, 900, true, vec![0; 100]).await.expect(200).with("Upload-Complete", "?1");
    stack.finish().await;
}
