//! Extension `concatenation`.

use super::{DEFERRED, OCTETS, PART, PARTIAL, base64, concat, is_file, is_unchanged, partial};
use crate::random::bytes;
use crate::speaker::{Reply, Speaker, id_of};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use reqwest::Method;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use waybill_integration_tests::Stack;
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn partial_uploads_end_with_their_session_and_count_once() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let session = tus.client.post("/v1/sessions", &json!({})).await.expect(201).text("session_id");
    let metadata = format!("filename YQ==,session_id {}", BASE64.encode(&session));
    let start = async |length: usize| {
        let length = length.to_string();
        let headers = [PARTIAL, ("Upload-Length", &*length), ("Upload-Metadata", &*metadata)];
        tus.post(&headers, "").await.expect(201).location()
    };
    let left = start(5).await;
    tus.patch(&left, 0, "hello").await.expect(204);
    let concat = format!("final;{left}");
    let headers = [("Upload-Concat", &*concat), ("Upload-Metadata", &*metadata)];
    let whole = tus.post(&headers, "").await.expect(201).location();
    is_file(&tus, &whole, b"hello").await;
    let running = start(5).await;
    tus.client.delete(&format!("/v1/sessions/{session}")).await.expect(204);
    eventually("the partial upload to end", || async { (tus.head(&running).await.status == 404).then_some(()) }).await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_6_14_a_final_upload_has_the_bytes_of_its_partial_ones_in_the_order_of_the_list() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_013, 2 * PART + 3_000);
    // The partial uploads are created in another order than they are joined. One is empty, one is larger than a part.
    let ranges = [0..1_000, 1_000..PART + 2_000, PART + 2_000..PART + 2_000, PART + 2_000..content.len()];
    let mut partials = Vec::new();
    for number in [3, 1, 0, 2] {
        partials.push((number, partial(&tus, &content[ranges[number].clone()]).await));
    }
    partials.sort();
    let partials: Vec<&str> = partials.iter().map(|(_, upload)| upload.as_str()).collect();
    let upload = concat(&tus, &partials).await.expect(201).location();
    is_file(&tus, &upload, &content).await;
    is_unchanged(&tus, &upload, content.len(), content.len()).await;
    tus.head(&upload).await.expect(200).without("Upload-Defer-Length").without("Upload-Expires");
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_15_16_17_18_19_urls_of_any_kind_are_taken_and_given_back_as_they_came() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let started = tus.post(&[PARTIAL, ("Upload-Length", "6")], "").await.expect(201).location();
    let head = tus.head(&started).await.expect(200).with("Upload-Concat", "partial");
    head.with("Upload-Offset", "0").with("Upload-Length", "6");
    tus.patch(&started, 0, "hello ").await.expect(204);
    let deferred = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    let head = tus.head(&deferred).await.expect(200).with("Upload-Concat", "partial");
    head.with("Upload-Offset", "0").with("Upload-Defer-Length", "1").without("Upload-Length");
    tus.patch_with(&deferred, 0, &[("Upload-Length", "5")], "world").await.expect(204);
    for upload in [&started, &deferred] {
        tus.head(upload).await.expect(200).with("Upload-Concat", "partial");
    }
    let with_bytes = tus.post(&[OCTETS, PARTIAL, ("Upload-Length", "1")], "!").await.expect(201).location();
    let header = format!("final;{started} {}{deferred} {}", stack.url(), id_of(&with_bytes));
    let upload = tus.post(&[("Upload-Concat", &header)], "").await.expect(201).location();
    is_file(&tus, &upload, b"hello world!").await;
    tus.head(&upload).await.expect(200).with("Upload-Concat", &header).with("Upload-Length", "12");
    // An upload that is neither partial nor final has no such header.
    let usual = tus.create(1).await;
    tus.head(&usual).await.expect(200).without("Upload-Concat");
    tus.delete(&usual).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_18_the_answer_to_a_creation_says_what_it_made() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = tus.post(&[OCTETS, PARTIAL, ("Upload-Length", "5")], "hello").await.expect(201);
    let header = format!("final;{}", part.location());
    let whole = tus.post(&[("Upload-Concat", &header)], "").await.expect(201);
    is_file(&tus, &whole.location(), b"hello").await;
    part.with("Upload-Concat", "partial");
    whole.with("Upload-Concat", &header);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_2_a_partial_upload_is_no_file() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    let status = tus.client.get(&format!("/v1/uploads/{}", id_of(&part))).await.expect(200);
    assert_eq!((&status.body["status"], &status.body["offset_bytes"]), (&json!("UPLOADING"), &json!(5)));
    let complete = format!("/v1/uploads/{}/complete", id_of(&part));
    tus.client.post(&complete, &json!({})).await.refused(409, "partial_unfit");
    stack.projected().await;
    tus.client.get(&format!("/v1/files/{}", id_of(&part))).await.refused(404, "not_found");
    for status in ["PENDING", "PROCESSING", "COMPLETED", "FAILED"] {
        let files = tus.client.get(&format!("/v1/files?status={status}")).await.expect(200);
        assert_eq!(files.body["items"], json!([]), "{status}");
    }
    tus.delete(&part).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_4_what_is_no_list_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    for value in ["", "final", "Partial", "partials", "final,", "nonsense"] {
        let headers = [("Upload-Concat", value), ("Upload-Length", "5")];
        tus.post(&headers, "").await.refused(400, "header_invalid").without("Location");
    }
    for value in ["final;".to_owned(), "final; ".to_owned(), format!("final {part}"), format!("final:{part}")] {
        tus.post(&[("Upload-Concat", &value)], "").await.refused(400, "header_invalid").without("Location");
    }
    let headers = [("Upload-Concat", &*format!("final;{part}")), ("Upload-Length", "5")];
    tus.post(&headers, "").await.refused(400, "header_invalid").without("Location");
    is_unchanged(&tus, &part, 5, 5).await;
    tus.delete(&part).await.expect(204);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_7_partial_uploads_are_joined_only_when_they_are_complete() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let done = partial(&tus, b"hello ").await;
    let begun = tus.post(&[PARTIAL, ("Upload-Length", "5")], "").await.expect(201).location();
    let open = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    tus.patch(&begun, 0, "wor").await.expect(204);
    tus.patch(&open, 0, "!").await.expect(204);
    concat(&tus, &[&done, &begun]).await.refused(409, "partial_unfit").without("Location");
    concat(&tus, &[&done, &open]).await.refused(409, "partial_unfit").without("Location");
    // All of them can still be continued and used.
    tus.patch(&begun, 3, "ld").await.expect(204);
    tus.patch_with(&open, 1, &[("Upload-Length", "2")], "!").await.expect(204);
    let upload = concat(&tus, &[&done, &begun, &open]).await.expect(201).location();
    is_file(&tus, &upload, b"hello world!!").await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

/// Joins a partial upload of deferred length whose length arrives after all bytes.
async fn is_joined_when_its_length_came_last(content: Vec<u8>) {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = tus.post(&[PARTIAL, DEFERRED], "").await.expect(201).location();
    tus.patch(&part, 0, content.clone()).await.expect(204);
    let length = content.len().to_string();
    tus.patch_with(&part, content.len(), &[("Upload-Length", &length)], "").await.expect(204);
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_creation_defer_4_a_partial_upload_whose_length_came_last_is_joined() {
    is_joined_when_its_length_came_last(bytes(1_015, 5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_3_5_creation_defer_4_a_long_partial_upload_whose_length_came_last_is_joined() {
    is_joined_when_its_length_came_last(bytes(1_016, PART + 5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_4_own_only_partial_uploads_of_ones_own_are_joined() {
    let stack = Stack::start().await;
    let (tus, stranger) = (Speaker::tus(stack.client()), Speaker::tus(stack.client()));
    let part = partial(&tus, b"hello").await;
    let theirs = partial(&stranger, b"secret").await;
    let usual = tus.create(5).await;
    let whole = {
        let part = partial(&tus, b"hello").await;
        concat(&tus, &[&part]).await.expect(201).location()
    };
    is_file(&tus, &whole, b"hello").await;
    let nothing = format!("/tus/{}", uuid::Uuid::now_v7());
    concat(&tus, &[&part, &theirs]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, &nothing]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, "/tus/nonsense"]).await.refused(404, "not_found").without("Location");
    concat(&tus, &[&part, &usual]).await.refused(409, "partial_unfit").without("Location");
    let of_final = concat(&tus, &[&part, &whole]).await.without("Location");
    assert_eq!(of_final.status, 409, "{of_final:?}");
    let colleague = Speaker::tus(stack.client_for(tus.client.principal.company_id, &[]));
    concat(&colleague, &[&part]).await.refused(404, "not_found").without("Location");
    is_unchanged(&tus, &part, 5, 5).await;
    is_unchanged(&stranger, &theirs, 6, 6).await;
    for (speaker, upload) in [(&tus, &part), (&tus, &usual), (&stranger, &theirs)] {
        speaker.delete(upload).await.expect(204);
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_8_metadata_of_partial_uploads_is_not_that_of_the_final_one() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let of_part = format!("filename {},colour {}", base64("part.txt"), base64("red"));
    let make = async || {
        let headers = [OCTETS, PARTIAL, ("Upload-Length", "5"), ("Upload-Metadata", &of_part)];
        tus.post(&headers, "hello").await.expect(201).location()
    };
    let bare = concat(&tus, &[&make().await]).await.expect(201).location();
    tus.head(&bare).await.expect(200).without("Upload-Metadata");
    let file = is_file(&tus, &bare, b"hello").await;
    assert_ne!(file["original_name"], "part.txt");
    assert!(!file["metadata"].to_string().contains("red"), "{file}");
    let of_whole = format!("filename {}", base64("whole.txt"));
    let header = format!("final;{}", make().await);
    let headers = [("Upload-Concat", &*header), ("Upload-Metadata", &of_whole)];
    let named = tus.post(&headers, "").await.expect(201).location();
    tus.head(&named).await.expect(200).with("Upload-Metadata", &of_whole);
    assert_eq!(is_file(&tus, &named, b"hello").await["original_name"], "whole.txt");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_9_10_a_partial_upload_may_come_twice_in_one_list_and_is_used_up_by_it() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let (ha, end) = (partial(&tus, b"ha").await, partial(&tus, b"!").await);
    let upload = concat(&tus, &[&ha, &ha, &end]).await.expect(201).location();
    is_file(&tus, &upload, b"haha!").await;
    stack.nothing_reserved(tus.client.principal.company_id).await;
    let quota = eventually("the quota to be projected", || async {
        let quota = tus.client.get("/v1/quota").await.expect(200).body;
        (quota["storage_used_bytes"] == 5).then_some(quota)
    });
    assert_eq!(quota.await["file_count"], 1, "the partial uploads still count as files");
    let company = tus.client.principal.company_id;
    for part in [&ha, &end] {
        let objects = waybill_schema::names::objects_prefix(company, id_of(part).parse().unwrap());
        eventually("the bytes of a partial upload to be deleted", || async {
            stack.store().list(&objects).await.unwrap().is_empty().then_some(())
        })
        .await;
    }
    let objects = waybill_schema::names::objects_prefix(company, id_of(&upload).parse().unwrap());
    assert_eq!(stack.store().list(&objects).await.unwrap().len(), 1, "the content of the file is not the only object");
    // A client that lost the answer repeats the request and gets the same upload. The partial uploads cannot become
    // another file.
    assert_eq!(concat(&tus, &[&ha, &ha, &end]).await.expect(201).location(), upload);
    concat(&tus, &[&end, &ha]).await.refused(409, "partial_unfit").without("Location");
    tus.patch(&ha, 2, "x").await.refused(410, "upload_ended");
    is_file(&tus, &upload, b"haha!").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_10_own_a_partial_upload_that_comes_twice_takes_its_space_twice() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let company = tus.client.principal.company_id;
    let put = tus.client.request(Method::PUT, &format!("/v1/admin/companies/{company}/quota"));
    tus.client.send(put.json(&json!({ "storage_limit_bytes": 2_500 }))).await.expect(200);
    let (part, other) = (partial(&tus, &[1; 1_000]).await, tus.create(1_000).await);
    concat(&tus, &[&part, &part]).await.refused(413, "quota_exceeded").without("Location");
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, &[1; 1_000]).await;
    tus.delete(&other).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_9_termination_3_4_a_partial_upload_that_was_used_is_there_or_gone() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let part = partial(&tus, b"hello").await;
    let upload = concat(&tus, &[&part]).await.expect(201).location();
    is_file(&tus, &upload, b"hello").await;
    let (head, delete) = (tus.head(&part).await, tus.delete(&part).await);
    match head.status {
        200 => {
            head.with("Upload-Offset", "5").with("Upload-Length", "5").with("Upload-Concat", "partial");
            delete.expect(204);
        }
        _ => {
            let gone = [404, 410];
            assert!(gone.contains(&head.status) && gone.contains(&delete.status), "{head:?} {delete:?}");
        }
    }
    is_file(&tus, &upload, b"hello").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_11_12_a_final_upload_takes_no_bytes() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let parts = [partial(&tus, b"hello ").await, partial(&tus, b"world").await];
    let upload = concat(&tus, &[&parts[0], &parts[1]]).await.expect(201).location();
    let before = [tus.head(&parts[0]).await, tus.head(&parts[1]).await];
    for (offset, body) in [(0, "x"), (0, ""), (11, "x"), (11, ""), (5, "x")] {
        tus.patch(&upload, offset, body).await.refused(403, "upload_kind");
    }
    tus.patch_with(&upload, 11, &[("Upload-Length", "12")], "x").await.refused(403, "upload_kind");
    is_unchanged(&tus, &upload, 11, 11).await;
    is_file(&tus, &upload, b"hello world").await;
    for (part, before) in parts.iter().zip(before) {
        let after = tus.head(part).await.expect(before.status);
        assert_eq!(after.header("Upload-Offset"), before.header("Upload-Offset"));
    }
    stack.finish().await;
}

/// Returns `true` if a final upload has an offset. The offset must equal the length; before that there is no offset.
fn has_no_offset_but_its_length(head: Reply, length: usize) -> bool {
    let length = length.to_string();
    let head = head.expect(200).with("Upload-Length", &length);
    head.header("Upload-Offset").inspect(|offset| assert_eq!(*offset, length)).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn concat_13_14_16_a_final_upload_has_no_offset_until_it_is_done() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_014, 3 * PART);
    let parts = [partial(&tus, &content[..PART + 1]).await, partial(&tus, &content[PART + 1..]).await];
    let is_made = AtomicBool::new(false);
    let make = async {
        let made = concat(&tus, &[&parts[0], &parts[1]]).await;
        is_made.store(true, Ordering::Relaxed);
        made.expect(201).location()
    };
    // The list of files shows the upload while it is created.
    let watch = async {
        while !is_made.load(Ordering::Relaxed) {
            for status in ["PENDING", "PROCESSING"] {
                let files = tus.client.get(&format!("/v1/files?status={status}")).await.expect(200);
                for file in files.body["items"].as_array().unwrap() {
                    let upload = format!("/tus/{}", file["id"].as_str().unwrap());
                    has_no_offset_but_its_length(tus.head(&upload).await, content.len());
                }
            }
        }
    };
    let (upload, ()) = tokio::join!(make, watch);
    eventually("the final upload to be done", || async {
        has_no_offset_but_its_length(tus.head(&upload).await, content.len()).then_some(())
    })
    .await;
    is_file(&tus, &upload, &content).await;
    stack.finish().await;
}
