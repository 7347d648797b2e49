//! Extension `expiration`.

use super::{DEFERRED, OCTETS, OTHER_SUMS, PART, PARTIAL, concat, is_file, is_unchanged, partial, with_args};
use crate::speaker::{Speaker, id_of};
use waybill_integration_tests::{Client, Stack};
use waybill_object_store::ObjectStore;
use waybill_test_kit::eventually;

/// Converts a time in UTC from RFC 3339 to IMF-fixdate (RFC 9110 §5.6.7), the format of HTTP.
fn imf_fixdate(time: &str) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const SHIFTS: [usize; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let number = |range: std::ops::Range<usize>| time[range].parse::<usize>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let counted = if month < 3 { year - 1 } else { year };
    let weekday = (counted + counted / 4 - counted / 100 + counted / 400 + SHIFTS[month - 1] + day) % 7;
    format!("{}, {day:02} {} {year} {} GMT", DAYS[weekday], MONTHS[month - 1], &time[11..19])
}

async fn expires(client: &Client, upload: &str) -> String {
    let status = client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
    imf_fixdate(&status.text("expires_at"))
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_3_4_8_until_when_is_said_to_whoever_creates_and_continues() {
    assert_eq!(imf_fixdate("2014-06-25T16:00:00.000Z"), "Wed, 25 Jun 2014 16:00:00 GMT");
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    for more in [vec![("Upload-Length", "11")], vec![DEFERRED], vec![PARTIAL, ("Upload-Length", "11")]] {
        let created = tus.post(&more, "").await.expect(201);
        let upload = created.location();
        let time = expires(&tus.client, &upload).await;
        created.with("Upload-Expires", &time);
        tus.patch(&upload, 0, "hello").await.expect(204).with("Upload-Expires", &time);
        tus.head(&upload).await.expect(200).with("Upload-Expires", &time);
        tus.patch(&upload, 5, "").await.expect(204).with("Upload-Expires", &time);
        tus.delete(&upload).await.expect(204);
    }
    let created = tus.post(&[OCTETS, ("Upload-Length", "11")], "hello").await.expect(201);
    let upload = created.location();
    created.with("Upload-Expires", &expires(&tus.client, &upload).await);
    // A complete upload does not expire.
    tus.patch(&upload, 5, " world").await.expect(204).without("Upload-Expires");
    is_file(&tus, &upload, b"hello world").await;
    tus.head(&upload).await.expect(200).without("Upload-Expires");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_3_until_when_is_said_with_refusals_of_a_patch_too() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(11).await;
    let time = expires(&tus.client, &upload).await;
    let refused = tus.patch(&upload, 5, "abc").await.refused(409, "offset_mismatch");
    let mismatch = tus.patch_with(&upload, 0, &[("Upload-Checksum", OTHER_SUMS[0])], "hello world").await;
    let mismatch = mismatch.refused(460, "digest_mismatch");
    tus.delete(&upload).await.expect(204);
    refused.with("Upload-Expires", &time);
    mismatch.with("Upload-Expires", &time);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expiration_1_6_7_what_was_not_continued_in_time_is_gone() {
    let stack = with_args(&["--upload-lifetime-s=4", "--expiry-grace-s=0", "--worker-sweep-ms=200"]).await;
    let tus = Speaker::tus(stack.client());
    let kept = tus.post(&[OCTETS, ("Upload-Length", "5")], "hello").await.expect(201).location();
    let begun = tus.create(PART * 2).await;
    tus.patch(&begun, 0, vec![1; 1_000]).await.expect(204);
    let open = tus.post(&[DEFERRED], "").await.expect(201).location();
    let part = partial(&tus, b"hello").await;
    for (upload, offset) in [(&begun, 1_000), (&open, 0), (&part, 5)] {
        let head = eventually("an upload to expire", || async {
            let head = tus.head(upload).await;
            (head.status != 200).then_some(head)
        });
        head.await.expect(404).without("Upload-Offset");
        let status = eventually("an expired upload to be cleaned up", || async {
            let status = tus.client.get(&format!("/v1/uploads/{}", id_of(upload))).await.expect(200);
            (status.body["error_code"] == "upload_expired").then_some(status)
        });
        assert_eq!(status.await.body["status"], "FAILED");
        // The server still knows that the upload existed.
        tus.head(upload).await.expect(404).without("Upload-Offset");
        tus.patch(upload, offset, "x").await.refused(410, "upload_ended").without("Upload-Offset");
        tus.patch(upload, offset, "").await.refused(410, "upload_ended").without("Upload-Offset");
    }
    concat(&tus, &[&part]).await.refused(410, "upload_ended");
    let company = tus.client.principal.company_id;
    stack.nothing_reserved(company).await;
    eventually("the stored bytes to be deleted", || async {
        stack.store().list(&format!("s/{company}/")).await.unwrap().is_empty().then_some(())
    })
    .await;
    // Only unfinished uploads expire.
    is_unchanged(&tus, &kept, 5, 5).await;
    is_file(&tus, &kept, b"hello").await;
    stack.finish().await;
}
