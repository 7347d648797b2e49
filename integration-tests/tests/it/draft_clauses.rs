//! draft-ietf-httpbis-resumable-upload-12, clause by clause. Each test bears the id of its clause;
//! docs/resumable-uploads.md has the table.

use crate::random::{bytes, sha256};
use crate::speaker::{Speaker, id_of};
use waybill_integration_tests::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn append_5_6_7_another_offset_is_a_conflict_that_says_the_right_one() {
    let stack = Stack::start().await;
    let draft = Speaker::draft(stack.client(), 9);
    let content = bytes(2_000, 10);
    let created = draft.post(&[("Upload-Complete", "?0"), ("Upload-Length", "10")], "").await.expect(201);
    let upload = created.location();
    let refused = draft.append(&upload, 3, false, "abc").await.refused(409, "offset_mismatch");
    let refused = refused.with("Upload-Offset", "0").with("Upload-Complete", "?0");
    assert_eq!(refused.json()["type"], "https://iana.org/assignments/http-problem-types#mismatching-upload-offset");
    assert_eq!(
        (refused.json()["expected-offset"].as_u64(), refused.json()["provided-offset"].as_u64()),
        (Some(0), Some(3))
    );
    draft.append(&upload, 0, true, content.clone()).await.expect(200).with("Upload-Complete", "?1");
    let file = draft.client.file_with_status(&id_of(&upload), "COMPLETED").await;
    assert_eq!(file["hash"], sha256(&content));
    stack.finish().await;
}
