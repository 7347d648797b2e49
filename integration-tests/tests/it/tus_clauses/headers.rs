//! Headers of the core protocol, and OPTIONS.

use super::{OCTETS, OTHER_SUMS, concat, is_file, is_unchanged, list, partial, with_args};
use crate::random::bytes;
use crate::speaker::Speaker;
use reqwest::Method;
use std::collections::BTreeSet;
use waybill_integration_tests::{Client, Stack};

/// An obsolete version.
const OLD: (&str, &str) = ("Tus-Resumable", "0.2.2");

/// Returns a client with an invalid token.
fn anonymous(tus: &Speaker) -> Client {
    Client::new(tus.client.url().to_owned(), "nonsense".to_owned(), tus.client.principal.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_offset_1_core_hdr_length_1_what_is_no_number_is_refused() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    for number in ["-1", "+1", "1.5", "1e3", "0x10", "ten", "1 0", "1, 2", ""] {
        let headers = [("Upload-Offset", number), OCTETS];
        tus.send(Method::PATCH, &upload, &headers, "abc").await.refused(400, "header_invalid");
        tus.post(&[("Upload-Length", number)], "").await.refused(400, "header_invalid").without("Location");
    }
    is_unchanged(&tus, &upload, 0, 10).await;
    tus.delete(&upload).await.expect(204);
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_1_2_the_version_is_on_every_answer() {
    let stack = with_args(&["--max-file-bytes=1000"]).await;
    let tus = Speaker::tus(stack.client());
    let nobody = Speaker::tus(anonymous(&tus));
    let (upload, gone) = (tus.create(11).await, tus.create(1).await);
    let empty = partial(&tus, b"").await;
    let whole = concat(&tus, &[&empty]).await.expect(201);
    let created = tus.post(&[("Upload-Length", "1")], "").await.expect(201);
    let offset = ("Upload-Offset", "0");
    let answers = [
        tus.options("/tus/", &[]).await.expect(204),
        tus.options(&upload, &[]).await.expect(204),
        tus.head(&upload).await.expect(200),
        tus.delete(&gone).await.expect(204),
        tus.delete(&created.location()).await.expect(204),
        tus.post(&[], "").await.expect(400),
        tus.patch(&upload, 0, "hello").await.expect(204),
        tus.send(Method::PATCH, &upload, &[OCTETS], "x").await.expect(400),
        nobody.head(&upload).await.expect(401),
        nobody.post(&[("Upload-Length", "1")], "").await.expect(401),
        tus.patch(&whole.location(), 0, "").await.expect(403),
        tus.head("/tus/nonsense").await.expect(404),
        tus.send(Method::GET, &upload, &[], "").await.expect(204),
        tus.send(Method::PUT, "/tus/", &[], "").await.expect(405),
        tus.patch(&upload, 0, "hello").await.expect(409),
        tus.head(&gone).await.expect(404),
        tus.send(Method::HEAD, &upload, &[OLD], "").await.expect(412),
        tus.post(&[("Upload-Length", "1001")], "").await.expect(413),
        tus.send(Method::PATCH, &upload, &[offset], "x").await.expect(415),
        tus.patch_with(&upload, 5, &[("Upload-Checksum", OTHER_SUMS[0])], " world").await.expect(460),
        whole,
        created,
    ];
    for answer in answers {
        answer.with("Tus-Resumable", "1.0.0");
    }
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_3_4_5_another_version_is_412_and_does_nothing() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    let reserved = stack.reserved_bytes(tus.client.principal.company_id).await;
    for version in ["0.2.2", "1.0", "1.0.1", "2.0.0", "nonsense"] {
        let version = ("Tus-Resumable", version);
        let answers = [
            tus.send(Method::HEAD, &upload, &[version], "").await.without("Upload-Offset"),
            tus.patch_with(&upload, 0, &[version], "0123456789").await.refused(412, "version_refused"),
            tus.send(Method::DELETE, &upload, &[version], "").await.refused(412, "version_refused"),
            tus.post(&[version, ("Upload-Length", "1")], "").await.refused(412, "version_refused").without("Location"),
        ];
        for answer in answers {
            answer.expect(412).with("Tus-Version", "1.0.0").with("Tus-Resumable", "1.0.0");
        }
    }
    // A request that names no version and belongs to no other protocol has an unsupported version.
    let plain = Speaker::plain(tus.client.clone());
    plain.patch(&upload, 0, "0123456789").await.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    plain.post(&[("Upload-Length", "1")], "").await.refused(412, "version_refused").without("Location");
    is_unchanged(&tus, &upload, 0, 10).await;
    assert_eq!(stack.reserved_bytes(tus.client.principal.company_id).await, reserved);
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_resumable_3_the_version_is_looked_at_first() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let nobody = Speaker::tus(anonymous(&tus));
    nobody.post(&[OLD], "").await.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    let strange = tus.post(&[OLD, ("X-HTTP-Method-Override", "NONSENSE")], "").await;
    strange.refused(412, "version_refused").with("Tus-Version", "1.0.0");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_override_1_2_the_method_in_the_header_is_the_one() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_006, 40);
    let upload = tus.create(content.len()).await;
    let patch = ("X-HTTP-Method-Override", "PATCH");
    // The header wins over each method of the request.
    for (number, method) in [Method::POST, Method::PUT, Method::GET, Method::DELETE].into_iter().enumerate() {
        let (from, to) = (number * 10, (number + 1) * 10);
        let headers = [patch, OCTETS, ("Upload-Offset", &from.to_string())];
        let answer = tus.send(method, &upload, &headers, content[from..to].to_vec()).await;
        answer.expect(204).with("Upload-Offset", &to.to_string());
    }
    is_file(&tus, &upload, &content).await;
    let head = tus.send(Method::POST, &upload, &[("X-HTTP-Method-Override", "HEAD")], "").await;
    head.expect(200).with("Upload-Offset", "40");
    let delete = ("X-HTTP-Method-Override", "DELETE");
    for method in [Method::POST, Method::PATCH] {
        let upload = tus.create(10).await;
        let headers = [delete, OCTETS, ("Upload-Offset", "0")];
        tus.send(method, &upload, &headers, "0123456789").await.expect(204).without("Upload-Offset");
        tus.head(&upload).await.expect(404);
    }
    stack.nothing_reserved(tus.client.principal.company_id).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_override_1_2_options_is_a_method_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(10).await;
    let meant = tus.send(Method::POST, "/tus/", &[("X-HTTP-Method-Override", "OPTIONS")], "").await;
    assert!(matches!(meant.status, 200 | 204), "{meant:?}");
    meant.with("Tus-Version", "1.0.0");
    let head = tus.send(Method::OPTIONS, &upload, &[("X-HTTP-Method-Override", "HEAD")], "").await;
    head.expect(200).with("Upload-Offset", "0");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_options_1_2_3_core_hdr_version_1_2_core_hdr_maxsize_1_2_options_tells_versions_and_limits() {
    let stack = with_args(&["--max-file-bytes=123456"]).await;
    let tus = Speaker::tus(stack.client());
    let (nobody, plain) = (Speaker::tus(anonymous(&tus)), Speaker::plain(tus.client.clone()));
    let upload = tus.create(10).await;
    let answers = [
        tus.options("/tus/", &[]).await,
        tus.options(&upload, &[]).await,
        // A client can ask before it knows a version or has a token.
        plain.options("/tus/", &[]).await,
        nobody.options("/tus/", &[]).await,
        tus.options("/tus/", &[OLD]).await,
        tus.options("/tus/", &[("Tus-Resumable", "nonsense")]).await,
    ];
    for answer in answers {
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_eq!(list(&answer, "Tus-Version"), ["1.0.0"], "the preferred one first");
        answer.with("Tus-Max-Size", "123456");
    }
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}

/// The tests of the other files prove that the announced extensions work. tus has two more, which Waybill does not
/// support.
#[tokio::test(flavor = "multi_thread")]
async fn core_hdr_extension_1_ext_1_creation_1_2_creation_defer_6_cwu_1_2_expiration_2_checksum_1_9_termination_1_concat_1_7_are_announced()
 {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let options = tus.options("/tus/", &[]).await;
    let announced = list(&options, "Tus-Extension");
    let all = [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ];
    let (found, wanted) = (announced.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(all));
    assert_eq!(found, wanted, "checksum-trailer and concatenation-unfinished are not supported");
    assert_eq!(announced.len(), all.len(), "an extension is announced twice");
    stack.finish().await;
}
