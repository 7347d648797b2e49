//! tus 1.0.0, clause by clause. Each test bears the id of its clause; docs/resumable-uploads.md has the table.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn core_head_1_offset_is_always_there() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let content = bytes(1_000, 1_000);
    let upload = tus.create(content.len()).await;
    tus.head(&upload).await.expect(200).with("Upload-Offset", "0").with("Upload-Length", "1000");
    tus.patch(&upload, 0, content.clone()).await.expect(204).with("Upload-Offset", "1000");
    tus.head(&upload).await.expect(200).with("Upload-Offset", "1000");
    let file = tus.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(&content));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_patch_3_another_offset_is_a_conflict() {
    let stack = Stack::start().await;
    let tus = Speaker::tus(stack.client());
    let upload = tus.create(1_000).await;
    tus.patch(&upload, 5, "abc").await.refused(409, "offset_mismatch").with("Upload-Offset", "0");
    tus.head(&upload).await.expect(200).with("Upload-Offset", "0");
    tus.delete(&upload).await.expect(204);
    stack.finish().await;
}
