//! Older versions of the draft, selected with `Upload-Draft-Interop-Version`.

use super::{PARTIAL, first_status, is_file, open, patch, stored};
use crate::speaker::{Headers, Reply, Speaker, id_of};
use reqwest::Method;
use waybill_integration_tests::{Client, Stack};

#[tokio::test(flavor = "multi_thread")]
async fn interop_1_2_create_13_head_6_append_18_cancel_3_the_first_answer_is_final_and_no_redirect() {
    let stack = Stack::start().await;
    for version in [None, Some(3), Some(5), Some(6), Some(8), Some(9), Some(10)] {
        let draft = match version {
            Some(version) => Speaker::draft(stack.client(), version),
            None => Speaker::plain(stack.client()),
        };
        let complete = if version == Some(3) { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let status = |method: &str, path: &str, headers: Headers<'_>, body: &str| {
            first_status(&mut draft.begin(method, path, headers, body.len(), body.as_bytes()))
        };
        assert_eq!(status("POST", "/tus/", &[complete, ("Upload-Length", "5")], "he"), 201, "{version:?}");
        let upload = draft.post(&[complete, ("Upload-Length", "5")], "").await.expect(201).location();
        let append = [("Upload-Offset", "0"), complete, PARTIAL];
        let appended = if version.is_some_and(|version| version <= 6) { 201 } else { 204 };
        assert_eq!(status("PATCH", &upload, &append, "he"), appended, "{version:?}");
        assert_eq!(status("PATCH", &upload, &append, "he"), 409, "{version:?}");
        assert_eq!(status("HEAD", &upload, &[], ""), 204, "{version:?}");
        assert_eq!(status("DELETE", &upload, &[], ""), 204, "{version:?}");
        assert_eq!(status("HEAD", &upload, &[], ""), 410, "{version:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_upload_incomplete_replaces_upload_complete_with_the_negated_value() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 3);
    let says = |reply: Reply, incomplete: &str, offset: &str| {
        let reply =
            reply.with("Upload-Incomplete", incomplete).without("Upload-Complete").with("Upload-Offset", offset);
        reply.with("Upload-Draft-Interop-Version", "3")
    };
    let created = draft.post(&[("Upload-Incomplete", "?1")], "he").await.expect(201);
    let upload = says(created, "?1", "2").location();
    says(draft.head(&upload).await.expect(204), "?1", "2");
    let headers = [("Upload-Offset", "2"), ("Upload-Incomplete", "?1")];
    says(patch(&draft, &upload, &headers, "l").await.expect(201), "?1", "3");
    says(patch(&draft, &upload, &headers, "l").await.refused(409, "offset_mismatch"), "?1", "3");
    // An append without the header is the last one.
    says(patch(&draft, &upload, &[("Upload-Offset", "3")], "lo").await.expect(200), "?0", "5");
    says(draft.head(&upload).await.expect(204), "?0", "5");
    is_file(&draft.client, &upload, b"hello").await;
    let whole = draft.post(&[("Upload-Incomplete", "?0")], "hello").await.expect(201);
    is_file(&draft.client, &says(whole, "?0", "5").location(), b"hello").await;
    let upload = says(draft.post(&[("Upload-Incomplete", "?1")], "").await.expect(201), "?1", "0").location();
    let headers = [("Upload-Offset", "0"), ("Upload-Incomplete", "?0")];
    says(patch(&draft, &upload, &headers, "hello").await.expect(200), "?0", "5");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_an_append_without_a_completion_header_completes_the_upload() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, done) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open)], "").await.expect(201).with(name, open).location();
        let headers = [("Upload-Offset", "0"), (name, open), PARTIAL];
        let appended = patch(&draft, &upload, &headers, "he").await.expect(201);
        appended.with(name, open).with("Upload-Offset", "2");
        let broken = [("Upload-Offset", "2"), PARTIAL];
        drop(draft.begin("PATCH", &upload, &broken, 3, b"l"));
        stored(&draft.client, &upload, 3).await;
        draft.head(&upload).await.expect(204).with(name, open).with("Upload-Offset", "3");
        let completed = patch(&draft, &upload, &[("Upload-Offset", "3"), PARTIAL], "lo").await.expect(200);
        completed.with(name, done).with("Upload-Offset", "5");
        is_file(&draft.client, &upload, b"hello").await;
    }
    for version in [7, 8, 9] {
        let draft = Speaker::draft(stack.client(), version);
        let upload = open(&draft, None).await;
        let headers = [("Upload-Offset", "0"), PARTIAL];
        patch(&draft, &upload, &headers, "hello").await.refused(400, "header_missing");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_declared_length_completes() {
    let stack = Stack::start().await;
    for version in [3, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, done) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open), ("Upload-Length", "5")], "he").await.expect(201).location();
        let headers = [("Upload-Offset", "2"), (name, open), PARTIAL];
        patch(&draft, &upload, &headers, "llo").await.expect(200).with(name, done).with("Upload-Offset", "5");
        is_file(&draft.client, &upload, b"hello").await;
        // tus-js-client creates an empty file with this request alone.
        let empty = draft.post(&[(name, open), ("Upload-Length", "0")], "").await.expect(201).with(name, done);
        is_file(&draft.client, &empty.with("Upload-Offset", "0").location(), b"").await;
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_media_type_of_an_append_came_with_6() {
    let stack = Stack::start().await;
    for version in [3, 4, 5] {
        let draft = Speaker::draft(stack.client(), version);
        let (name, open, last) = match version {
            3 => ("Upload-Incomplete", "?1", "?0"),
            _ => ("Upload-Complete", "?0", "?1"),
        };
        let upload = draft.post(&[(name, open)], "").await.expect(201).location();
        patch(&draft, &upload, &[("Upload-Offset", "0"), (name, open)], "he").await.expect(201);
        let headers = [("Upload-Offset", "2"), (name, last), ("Content-Type", "text/plain")];
        patch(&draft, &upload, &headers, "llo").await.expect(200);
        is_file(&draft.client, &upload, b"hello").await;
    }
    let draft = Speaker::draft(stack.client(), 6);
    let upload = open(&draft, None).await;
    let headers = [("Upload-Offset", "0"), ("Upload-Complete", "?1")];
    patch(&draft, &upload, &headers, "hello").await.refused(415, "content_type_refused");
    // The creation ignores it as the type of the file (tus-js-client 4.3 sends it).
    let upload = draft.post(&[("Upload-Complete", "?1"), PARTIAL], "hello").await.expect(201).location();
    let file = draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!(file["mime_type"], "text/plain", "the type is detected from the content");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_head_and_delete_with_upload_state_headers_are_refused_with_400() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6] {
        let draft = Speaker::draft(stack.client(), version);
        let complete = if version == 3 { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let upload = draft.post(&[complete], "he").await.expect(201).location();
        for method in [Method::HEAD, Method::DELETE] {
            for state in [complete, ("Upload-Offset", "2")] {
                draft.send(method.clone(), &upload, &[state], "").await.expect(400);
            }
        }
        draft.head(&upload).await.expect(204).with("Upload-Offset", "2").with("Cache-Control", "no-store");
        draft.delete(&upload).await.expect(204);
        draft.head("/tus/01997000-0000-7000-8000-000000000000").await.expect(404);
    }
    // Version 7 removed the rule.
    let draft = Speaker::draft(stack.client(), 9);
    let upload = open(&draft, None).await;
    for method in [Method::HEAD, Method::DELETE] {
        draft.send(method, &upload, &[("Upload-Complete", "?0"), ("Upload-Offset", "0")], "").await.expect(204);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interop_3_5_6_the_version_that_was_asked_for_is_on_every_answer() {
    let stack = Stack::start().await;
    for version in [3, 4, 5, 6, 7, 8, 9] {
        let draft = Speaker::draft(stack.client(), version);
        let complete = if version == 3 { ("Upload-Incomplete", "?1") } else { ("Upload-Complete", "?0") };
        let said = version.to_string();
        let same = |reply: Reply| reply.with("Upload-Draft-Interop-Version", &said);
        let upload = same(draft.post(&[complete], "").await.expect(201)).location();
        let append = [("Upload-Offset", "0"), complete, PARTIAL];
        let status = if version <= 6 { 201 } else { 204 };
        same(patch(&draft, &upload, &append, "he").await.expect(status));
        same(patch(&draft, &upload, &append, "he").await.expect(409));
        same(draft.head(&upload).await.expect(204));
        same(draft.delete(&upload).await.expect(204));
        same(draft.head(&upload).await.expect(410));
        let nobody = Client::new(stack.url().to_owned(), "nonsense".to_owned(), draft.client.principal.clone());
        same(Speaker::draft(nobody, version).head(&upload).await.expect(401));
    }
    // An answer to a request without a version has no version.
    let unversioned = Speaker::plain(stack.client());
    let created = unversioned.post(&[("Upload-Complete", "?0")], "").await.expect(201);
    let created = created.without("Upload-Draft-Interop-Version");
    unversioned.head(&created.location()).await.expect(204).without("Upload-Draft-Interop-Version");
    stack.finish().await;
}
